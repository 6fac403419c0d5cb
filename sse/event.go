package sse

import (
	"encoding"
	"fmt"
	"time"
)

var _ encoding.TextAppender = Event{}

// An Event is one event of a stream, as it is to be written or as it was read.
type Event struct {
	// ID is the event's id. Written: its id line, if there is one to write
	// (see HasID). Read: the last event id in force at this event, whether
	// this event or an earlier one set it (a browser's lastEventId).
	ID string

	// HasID says that the event itself has an id line. Written: an ID that is
	// not empty always has one, so HasID only matters for an empty ID, which
	// resets the reader's to none. Read: true if this event set the id.
	HasID bool

	// Name is the event's name; empty for an unnamed event, which a browser
	// hears as "message".
	Name string

	// Data is the payload. Read, it is never nil, is the caller's to keep and
	// change, and is valid UTF-8 whose line ends are all LF.
	Data []byte

	// Retry is the reconnection time this event's block sets; 0 for none.
	// Written in whole milliseconds, rounded up. What a stream sets outside
	// its events, or sets to 0, is told by [Reader.Retry].
	Retry time.Duration
}

// AppendText appends the event to b in the format text/event-stream: id,
// retry and event lines where there is something to say, at least one data
// line, and the blank line that dispatches it.
//
// It errors, and returns b as it was, if ID or Name has a CR, an LF or a NUL or
// is not valid UTF-8, or if Retry is negative. Data may be anything: see the
// package documentation for what of it arrives changed.
//
// AppendText implements [encoding.TextAppender].
func (e Event) AppendText(b []byte) ([]byte, error) {
	if err := e.check(); err != nil {
		return b, err
	}
	if e.HasID || e.ID != "" {
		b = appendField(b, "id:", e.ID)
	}
	if e.Retry > 0 {
		b = appendRetry(b, e.Retry)
	}
	b = appendBody(b, e.Name, e.Data)
	return append(b, '\n'), nil
}

func (e Event) check() error {
	if err := checkText("event id", e.ID); err != nil {
		return err
	}
	if err := checkText("event name", e.Name); err != nil {
		return err
	}
	if e.Retry < 0 {
		return fmt.Errorf("sse: the retry time %v is negative: give 0 for none, or how long a client is to wait", e.Retry)
	}
	return nil
}

// appendBody appends an event's lines that are the same for every reader.
func appendBody(b []byte, name string, data []byte) []byte {
	if name != "" {
		b = appendField(b, "event:", name)
	}
	return appendLines(b, "data:", data)
}
