package middleware

import (
	"encoding/json"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/ocsigo/comet/doctor"
	"github.com/ocsigo/comet/sse"
)

// A probe is an event stream of the doctor's: hello, then one event after the
// other, each after its time. It is written as every event stream is.
type probe struct {
	hello []byte
	event string        // what it says again and again
	every time.Duration // when
	times int           // how often, before the end
	gone  func()

	mu      sync.Mutex
	wake    func()
	timer   *time.Timer
	begun   time.Time // hello was written
	said    int
	due     int // may have been said by now
	over    bool
	stopped bool
}

// newProbe returns the probe of a phase, nil if there is none of that name.
func newProbe(phase string, back bool, hello []byte, heartbeat time.Duration) *probe {
	p := &probe{hello: hello}
	switch {
	case phase == doctor.PhaseTicks && !back:
		p.event, p.every, p.times = doctor.EventTick, doctor.Every, doctor.Ticks
	case phase == doctor.PhaseTicks, phase == doctor.PhaseOpen:
		p.every = time.Minute
	case phase == doctor.PhaseIdle:
		p.event, p.every, p.times = doctor.EventBeat, heartbeat, 2
	default:
		return nil
	}
	return p
}

func (p *probe) Start(wake func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake = wake
}

func (p *probe) Collect(b *sse.Batch, _ int) (more bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begun.IsZero() {
		b.Retry(200 * time.Millisecond)
		b.Event([]byte("0"), doctor.EventHello, p.hello)
		p.begun = time.Now()
		if p.stopped {
			return false, io.EOF
		}
		p.timer = time.AfterFunc(p.every, p.tick)
		return false, nil
	}
	for ; p.said < p.due && p.said < p.times; p.said++ {
		at := float64(time.Since(p.begun).Microseconds()) / 1000
		data, _ := json.Marshal(doctor.Sent{N: p.said + 1, At: at}) // of plain fields
		b.Event(strconv.AppendInt(nil, int64(p.said+1), 10), p.event, data)
	}
	if p.stopped || p.due > p.times || p.times > 0 && p.said == p.times {
		return false, io.EOF
	}
	return false, nil
}

// tick has one more said.
func (p *probe) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.due++
	p.timer.Reset(p.every)
	p.wake()
}

// end has the probe end, as at a shutdown.
func (p *probe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if !p.over && p.wake != nil {
		p.wake()
	}
}

func (p *probe) Gone(error) {
	p.mu.Lock()
	p.over = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	p.gone()
}
