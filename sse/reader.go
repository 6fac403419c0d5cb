package sse

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"
	"time"
)

// ErrTooLong is the error of an event that exceeds [ReaderConfig.MaxEventBytes].
var ErrTooLong = errors.New("sse: event exceeds the reader's MaxEventBytes; raise the bound if such events are meant")

// What a ReaderConfig's zero fields stand for.
const (
	DefaultMaxEventBytes = 16 << 20
	DefaultRetry         = 3 * time.Second // Chromium's; the standard asks for a few seconds
)

// readSize is the buffer a Reader starts with; lines longer than it grow it.
const readSize = 4096

// A ReaderConfig is what a [Reader] starts from.
type ReaderConfig struct {
	// MaxEventBytes bounds what one event may make the reader hold: the name,
	// id and data kept so far and the line being read (comments too), in
	// bytes. 0 or less is DefaultMaxEventBytes. How the bytes are cut on their
	// way does not change which event is too long. An event is returned with
	// at most this much data, or three times as much if it is not UTF-8.
	MaxEventBytes int

	// LastEventID and Retry are what the stream before this one left behind:
	// a client that reconnects carries them over. A Retry of 0 or less is
	// DefaultRetry.
	LastEventID string
	Retry       time.Duration
}

// A Reader reads the events of one stream, as sections 9.2.5 and 9.2.6 of the
// HTML standard prescribe. It is not for concurrent use.
type Reader struct {
	lines lines
	max   int
	begun bool // the first line was read, and with it any byte order mark

	event Event  // the block being read; its Data ends in the LF of each line
	id    string // the standard's last event ID buffer
	last  string // the id that was in force at the last blank line
	retry time.Duration
	err   error
}

// NewReader reads the stream r, with one optional config; more than one is a
// programming error and panics. It reads ahead, so r is the reader's from here
// on. It never closes r.
func NewReader(r io.Reader, config ...ReaderConfig) *Reader {
	if len(config) > 1 {
		panic("sse: NewReader takes at most one ReaderConfig")
	}
	var c ReaderConfig
	if len(config) == 1 {
		c = config[0]
	}
	if c.MaxEventBytes <= 0 {
		c.MaxEventBytes = DefaultMaxEventBytes
	}
	if c.Retry <= 0 {
		c.Retry = DefaultRetry
	}
	return &Reader{lines: lines{src: r}, max: c.MaxEventBytes, id: c.LastEventID, last: c.LastEventID, retry: c.Retry}
}

// Next returns the next event. It blocks in the underlying reader, and only
// while no whole event was received: it never waits for what follows the blank
// line.
//
// At the end of the stream it returns io.EOF, and an unfinished event is
// discarded. An event over the bound is ErrTooLong; any other error is the
// underlying reader's, as it is. An error is final: Next returns it again.
func (r *Reader) Next() (Event, error) {
	for r.err == nil {
		line, ok := r.lines.next()
		if r.held()+len(line) > r.max {
			r.err = ErrTooLong
		} else if !ok {
			r.err = r.lines.fill()
		} else if e, ok := r.interpret(line); ok {
			return e, nil
		}
	}
	return Event{}, r.err
}

// LastEventID is what a client sends as Last-Event-ID when it reconnects: the
// id in force at the last blank line, with or without an event. An id whose
// block was cut off does not count. Empty means that the header is not sent.
func (r *Reader) LastEventID() string { return r.last }

// Retry is how long a client waits before it reconnects: the last retry line's
// value, or what the reader started from. A value beyond [time.Duration] is the
// longest one.
func (r *Reader) Retry() time.Duration { return r.retry }

// held is how many bytes of the block being read are kept.
func (r *Reader) held() int { return len(r.event.Name) + len(r.event.ID) + len(r.event.Data) }

// interpret takes one line, and returns the event it completes, if it does.
func (r *Reader) interpret(line []byte) (Event, bool) {
	if !r.begun {
		r.begun = true
		line = bytes.TrimPrefix(line, []byte("\xEF\xBB\xBF"))
	}
	if len(line) == 0 {
		return r.dispatch()
	}
	field, value, _ := bytes.Cut(line, []byte{':'})
	r.field(field, bytes.TrimPrefix(value, []byte{' '}))
	return Event{}, false
}

// field takes one field; a comment comes as a field without a name. Names it
// does not know are ignored, as the standard says.
func (r *Reader) field(name, value []byte) {
	switch string(name) {
	case "event":
		r.event.Name = string(decode(value))
	case "data":
		r.event.Data = append(slices.Grow(r.event.Data, len(value)+1), value...)
		r.event.Data = append(r.event.Data, '\n')
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			r.id = string(decode(value))
			r.event.ID, r.event.HasID = r.id, true
		}
	case "retry":
		if d, ok := parseRetry(value); ok {
			r.retry, r.event.Retry = d, d
		}
	}
}

// dispatch ends a block. One without a data line is no event, but its id counts.
func (r *Reader) dispatch() (Event, bool) {
	e := r.event
	r.event = Event{}
	r.last = r.id
	if len(e.Data) == 0 {
		return Event{}, false
	}
	e.ID = r.last
	e.Data = decode(e.Data[:len(e.Data)-1])
	return e, true
}

// parseRetry reads a retry value: ASCII digits and nothing else. An empty value
// is not a number here. (Chromium takes it for its default.)
func parseRetry(value []byte) (time.Duration, bool) {
	const limit = time.Duration(1<<63 - 1)
	var ms time.Duration
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		ms = min(ms*10+time.Duration(c-'0'), limit/time.Millisecond+1)
	}
	if ms > limit/time.Millisecond {
		return limit, true
	}
	return ms * time.Millisecond, len(value) > 0
}

// Read ranges over the events of r with a default [Reader]. The sequence ends
// after the last whole event; an error that is not io.EOF is yielded once,
// with a zero Event, before it ends. It reads ahead, so it can be ranged over
// once.
func Read(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		reader := NewReader(r)
		for {
			e, err := reader.Next()
			if err == io.EOF || !yield(e, err) || err != nil {
				return
			}
		}
	}
}
