package redis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ocsigo/comet/engine"
)

// errReply is for a reply that no script of this package gives: somebody else wrote
// to its keys.
func errReply(reply []any) error {
	return fmt.Errorf("the keys of the namespace hold what this package did not write: %.200q", fmt.Sprint(reply...))
}

func text(reply []any, i int) string {
	if i >= len(reply) {
		return ""
	}
	s, _ := reply[i].(string)
	return s
}

func parseTail(reply []any) (engine.Position, error) {
	p := engine.Position{Epoch: text(reply, 0)}
	err := parseNumbers(&p, text(reply, 1), text(reply, 2))
	return p, err
}

func parseNumbers(p *engine.Position, seq, tag string) error {
	s, err := strconv.ParseUint(seq, 10, 64)
	if err != nil {
		return errReply([]any{seq})
	}
	t, err := strconv.ParseUint(tag, 10, 32)
	if err != nil {
		return errReply([]any{tag})
	}
	p.Seq, p.Tag = s, uint32(t)
	return nil
}

// parseTailAt reads the four fields that the script tails gives for one log.
func parseTailAt(reply []any, i int) (t tail, err error) {
	if len(reply) < i+4 {
		return t, errReply(reply)
	}
	if text(reply, i) == "" {
		return t, nil
	}
	lifetime, err := strconv.ParseInt(text(reply, i+3), 10, 64)
	if err != nil {
		return t, errReply(reply)
	}
	t.every = keepEvery(lifetime)
	t.at, err = parseTail(reply[i:])
	return t, err
}

// parsePlaces reads what the script append answers.
func parsePlaces(reply []any, n int) ([]engine.Position, error) {
	if len(reply) != n+2 {
		return nil, errReply(reply)
	}
	positions := make([]engine.Position, n)
	for i := range positions {
		positions[i].Epoch = text(reply, 1)
		seq, tag, _ := strings.Cut(text(reply, 2+i), "-")
		if err := parseNumbers(&positions[i], seq, tag); err != nil {
			return nil, err
		}
	}
	return positions, nil
}

// logReply is what the scripts read and last answer.
type logReply struct {
	top     engine.Position
	single  bool // the log is a Newest one
	entries []engine.Entry
}

func parseLog(reply []any) (logReply, error) {
	if len(reply) == 0 {
		return logReply{}, engine.ErrNoChannel
	}
	if len(reply) != 5 {
		return logReply{}, errReply(reply)
	}
	top, err := parseTail(reply)
	if err != nil {
		return logReply{}, err
	}
	raw, _ := reply[4].([]any)
	log := logReply{top: top, single: text(reply, 3) == "1"}
	if len(raw) > 0 {
		log.entries = make([]engine.Entry, 0, len(raw))
	}
	for _, r := range raw {
		entry, err := parseEntry(top.Epoch, r)
		if err != nil {
			return logReply{}, err
		}
		log.entries = append(log.entries, entry)
	}
	return log, nil
}

// parseEntry reads one entry of a stream: {ID, {"h", header, "d", data}}.
func parseEntry(epoch string, raw any) (engine.Entry, error) {
	pair, _ := raw.([]any)
	if len(pair) != 2 {
		return engine.Entry{}, errReply([]any{raw})
	}
	fields, _ := pair[1].([]any)
	if len(fields) != 4 {
		return engine.Entry{}, errReply([]any{raw})
	}
	seq, tag, _ := strings.Cut(text(pair, 0), "-")
	before, rest, _ := strings.Cut(text(fields, 1), " ")
	at, _, _ := strings.Cut(rest, " ")
	return newEntry(epoch, seq, tag, before, at, text(fields, 3))
}

func newEntry(epoch, seq, tag, before, at, data string) (engine.Entry, error) {
	entry := engine.Entry{Position: engine.Position{Epoch: epoch}, Data: []byte(data)}
	if err := parseNumbers(&entry.Position, seq, tag); err != nil {
		return engine.Entry{}, err
	}
	prev, err := strconv.ParseUint(before, 10, 32)
	if err != nil || entry.Position.Seq == 0 {
		return engine.Entry{}, errReply([]any{seq, before})
	}
	milliseconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return engine.Entry{}, errReply([]any{at})
	}
	entry.Prev, entry.PrevTag, entry.At = entry.Position.Seq-1, uint32(prev), time.UnixMilli(milliseconds)
	return entry, nil
}

// after is the answer to a Read after a position. Sequences are contiguous, so the
// entry of the next number proves that none was discarded, and names the tag that the
// position has in this log's history.
func (l logReply) after(at engine.Position) (engine.Batch, error) {
	foreign := func() (engine.Batch, error) {
		return engine.Batch{}, fmt.Errorf("%w: after %q, the log ends at %v", engine.ErrEpoch, at, l.top)
	}
	if at.Epoch != l.top.Epoch || at.Seq > l.top.Seq {
		return foreign()
	}
	if at.Seq == l.top.Seq {
		if at.Tag != l.top.Tag {
			return foreign()
		}
		return engine.Batch{Top: l.top}, nil
	}
	if len(l.entries) == 0 {
		return engine.Batch{}, engine.ErrNoChannel // an eviction took the stream's end, or somebody did
	}
	first := l.entries[0]
	if first.Prev != at.Seq && !l.single {
		return engine.Batch{}, fmt.Errorf("%w: after %v, the oldest kept is %v", engine.ErrTrimmed, at, first.Position)
	}
	if first.Prev == at.Seq && first.PrevTag != at.Tag {
		return foreign()
	}
	return engine.Batch{
		Entries: l.entries,
		Top:     l.top,
		More:    l.entries[len(l.entries)-1].Position.Seq < l.top.Seq,
	}, nil
}

// newest is the answer to a Last; the script gives the newest entry first.
func (l logReply) newest() engine.Batch {
	slices.Reverse(l.entries)
	return engine.Batch{Entries: l.entries, Top: l.top}
}

// specText is a spec as the meta hash keeps it.
func specText(s engine.Spec) string {
	return fmt.Sprint(s.Size, s.MaxBytes, bit(s.Newest), int64(s.IdleTTL))
}

func parseSpec(text string) (s engine.Spec, err error) {
	var newest int
	if _, err = fmt.Sscan(text, &s.Size, &s.MaxBytes, &newest, (*int64)(&s.IdleTTL)); err != nil {
		return s, errReply([]any{text})
	}
	s.Newest = newest == 1
	return s, nil
}
