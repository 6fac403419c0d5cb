package sitetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"

	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

// A reader is a page with an EventSource, on a connection that is cut anywhere; it
// comes back to any node.
type reader struct {
	random *rand.Rand
	sites  []*scope.Site
	query  string
	lastID string
	stream *scope.EventStream
	wakes  chan struct{}
	batch  sse.Batch
}

// newReader is a page that was made on a node, to hear what refs say.
func (k *kit) newReader(i int, refs ...scope.Ref) *reader {
	k.Helper()
	link, err := k.sites[i%len(k.sites)].Link(context.Background(), nil, 0, refs...)
	if err != nil {
		k.Fatal(err)
	}
	return &reader{random: k.random(uint64(100 + i)), sites: k.sites, query: link.Query, wakes: make(chan struct{}, 1)}
}

func (r *reader) connect(ctx context.Context) error {
	site := r.sites[r.random.IntN(len(r.sites))]
	s, err := site.OpenStream(ctx, scope.Request{Query: r.query, LastEventID: r.lastID, Reconnect: r.lastID != ""})
	if err != nil {
		return err
	}
	r.stream = s
	s.Start(func() {
		select {
		case r.wakes <- struct{}{}:
		default:
		}
	})
	return nil
}

func (r *reader) cut() {
	if r.stream != nil {
		r.stream.Gone(errors.New("cut"))
		r.stream = nil
	}
}

// hear returns the events that are pending, after connecting where that is to be done.
// Sometimes the connection is cut in the middle of them.
func (r *reader) hear(ctx context.Context) ([]sse.Event, error) {
	if r.stream == nil {
		if err := r.connect(ctx); err != nil {
			return nil, err
		}
	}
	wire, over := r.collect()
	cut := r.random.IntN(12) == 0
	if cut && len(wire) > 0 {
		wire = wire[:r.random.IntN(len(wire))]
	}
	events, err := r.read(wire)
	if cut || over {
		r.cut()
	}
	return events, err
}

func (r *reader) collect() (wire []byte, over bool) {
	for {
		r.batch.Reset()
		more, err := r.stream.Collect(&r.batch, 4096)
		wire = append(wire, r.batch.Bytes()...)
		if err != nil {
			return wire, true
		}
		if r.batch.Len() == 0 && !more {
			return wire, false
		}
	}
}

func (r *reader) read(wire []byte) (events []sse.Event, err error) {
	in := sse.NewReader(bytes.NewReader(wire), sse.ReaderConfig{LastEventID: r.lastID})
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			r.lastID = in.LastEventID()
			return events, nil
		}
		if err != nil {
			return nil, err
		}
		e.Data = bytes.Clone(e.Data)
		events = append(events, e)
	}
}
