package main

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/ocsigo/comet/bench/internal/control"
	"github.com/ocsigo/comet/bench/internal/message"
	"github.com/ocsigo/comet/bench/internal/process"
)

func names() []string { return slices.Sorted(maps.Keys(kinds)) }

// A publisher carries out commands.
type publisher struct {
	target target
	seqs   map[int]int64 // of the last value of each channel
	traced *os.File      // the profile under way
}

func (p *publisher) answer(c control.Command) control.Reply {
	var r control.Reply
	var err error
	switch c.Op {
	case "publish":
		err = p.publish(c, &r)
	case "cpu":
		r.CPU, err = process.CPU()
	case "memory":
		var m process.Memory
		m, err = process.Settled()
		r.RSS, r.Heap, r.Goroutines = m.RSS, m.Heap, m.Goroutines
	case "profile":
		err = p.profile(c.Path)
	default:
		err = fmt.Errorf("no command %q", c.Op)
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// publish keeps to the schedule, not to the pause: one late value does not make
// the next ones late.
func (p *publisher) publish(c control.Command, r *control.Reply) error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	due := time.Now()
	for i := range c.Count {
		if i > 0 && i%max(c.Burst, 1) == 0 {
			due = due.Add(c.Every)
			time.Sleep(time.Until(due))
		}
		channel := c.Channel
		if c.Each {
			channel = i % c.Channels
		}
		if err := p.one(channel, c.Size, r); err != nil {
			return err
		}
	}
	runtime.ReadMemStats(&after)
	r.Allocs = after.Mallocs - before.Mallocs
	return nil
}

func (p *publisher) one(channel, size int, r *control.Reply) error {
	p.seqs[channel]++
	at := time.Now()
	m := message.Message{Channel: channel, Seq: p.seqs[channel], At: at.UnixNano()}
	data := m.Append(make([]byte, 0, max(size, message.Min)), size)
	began := time.Now()
	err := p.target.publish(channel, data)
	took := time.Since(began)
	r.Elapsed += took
	r.Slowest = max(r.Slowest, took)
	if err != nil {
		return fmt.Errorf("publishing %+v: %w", m, err)
	}
	return nil
}

// profile begins a CPU profile, or ends it if path is empty.
func (p *publisher) profile(path string) (err error) {
	if path == "" {
		pprof.StopCPUProfile()
		return p.traced.Close()
	}
	if p.traced, err = os.Create(path); err != nil {
		return err
	}
	return pprof.StartCPUProfile(p.traced)
}
