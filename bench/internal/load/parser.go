package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// A parser takes a response apart: head, chunks, lines, events. It keeps only
// what is unfinished between two reads.
type parser struct {
	state   state
	chunked bool
	left    int    // of the current chunk
	partial []byte // of a head, a chunk's first line, or a line of the body
	line    []byte // of the body, unfinished
	name    []byte
	data    []byte
	hasData bool
}

type state uint8

const (
	inHead  state = iota
	inSize        // the line before a chunk
	inChunk       // or in a body that has none
	inCRLF        // the line end after a chunk
)

// A listener hears what a stream says.
type listener interface {
	id(id []byte)
	event(name, data []byte)
}

func (p *parser) inBody() bool { return p.state != inHead }

// feed takes what was read.
func (p *parser) feed(b []byte, l listener) error {
	for len(b) > 0 {
		var err error
		switch p.state {
		case inHead:
			b, err = p.head(b)
		case inSize:
			b, err = p.size(b)
		case inChunk:
			b = p.chunk(b, l)
		case inCRLF:
			_, b, _ = p.until(b, '\n', func([]byte) error { p.state = inSize; return nil })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// until collects up to and with end, over reads, and gives it to done whole.
func (p *parser) until(b []byte, end byte, done func([]byte) error) (whole bool, rest []byte, err error) {
	i := bytes.IndexByte(b, end)
	if i < 0 {
		p.partial = append(p.partial, b...)
		return false, nil, nil
	}
	text := b[:i+1]
	if len(p.partial) > 0 {
		p.partial = append(p.partial, text...)
		text = p.partial
	}
	err = done(text)
	p.partial = nil
	return true, b[i+1:], err
}

var errStatus = errors.New("the response is no event stream")

func (p *parser) head(b []byte) ([]byte, error) {
	p.partial = append(p.partial, b...)
	head, body, whole := bytes.Cut(p.partial, []byte("\r\n\r\n"))
	if !whole {
		return nil, nil
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) || !bytes.Contains(head, []byte("text/event-stream")) {
		return nil, fmt.Errorf("%w: %.300q", errStatus, p.partial)
	}
	p.chunked = bytes.Contains(bytes.ToLower(head), []byte("transfer-encoding: chunked"))
	p.state, p.partial = inChunk, nil
	if p.chunked {
		p.state = inSize
	}
	return body, nil
}

func (p *parser) size(b []byte) ([]byte, error) {
	_, rest, err := p.until(b, '\n', func(line []byte) error {
		n, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return fmt.Errorf("a chunk's size: %w", err)
		}
		p.left, p.state = int(n), inChunk
		return nil
	})
	return rest, err
}

func (p *parser) chunk(b []byte, l listener) []byte {
	if !p.chunked {
		p.body(b, l)
		return nil
	}
	n := min(p.left, len(b))
	p.body(b[:n], l)
	if p.left -= n; p.left == 0 {
		p.state = inCRLF
	}
	return b[n:]
}

// body cuts lines, which end in LF or CRLF with all that is measured here.
func (p *parser) body(b []byte, l listener) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			p.line = append(p.line, b...)
			return
		}
		line := b[:i]
		if len(p.line) > 0 {
			p.line = append(p.line, line...)
			line = p.line
		}
		p.field(bytes.TrimSuffix(line, []byte{'\r'}), l)
		p.line = nil
		b = b[i+1:]
	}
}

// field takes one line of the stream.
func (p *parser) field(line []byte, l listener) {
	name, value, _ := bytes.Cut(line, []byte{':'})
	value = bytes.TrimPrefix(value, []byte{' '})
	switch string(name) {
	case "":
		if len(line) == 0 {
			p.dispatch(l)
		}
	case "id":
		l.id(value)
	case "event":
		p.name = append(p.name[:0], value...)
	case "data":
		p.data = append(p.data, value...)
		p.hasData = true
	}
}

func (p *parser) dispatch(l listener) {
	if p.hasData {
		l.event(p.name, p.data)
	}
	p.name, p.data, p.hasData = p.name[:0], p.data[:0], false
}
