package nats

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ocsigo/comet/engine"
)

// Storage is a fiber.Storage on the Engine's JetStream, for sessions that follow a
// user from node to node. It holds the methods of that interface without importing
// Fiber.
//
// What Set and Delete returned for, any later Get on any node sees: every read goes
// to the stream's leader, and none to a replica that may lag behind it. The one
// exception is a leader that has just been cut off from its majority: for some
// seconds it still answers those on its side of the cut, who cannot store anything
// then either.
//
// A value lives for as long as Set says, in whole seconds rounded up, and is gone
// at most some seconds later. 0 keeps it for ever. A call waits at most for
// Config.Timeout.
type Storage struct {
	e    *Engine
	root string
}

// Storage returns the store of a name in the Engine's Namespace: two of one name
// are the same, and share nothing with another. It needs no Close of its own, and
// ends with the Engine.
func (e *Engine) Storage(name string) *Storage {
	return &Storage{e: e, root: e.state.root + ".kv." + token(name)}
}

// maxKey is the longest key of a Storage in bytes.
const maxKey = 1024

func (s *Storage) subject(key string) string { return s.root + "." + hex.EncodeToString([]byte(key)) }

// enter begins a call.
func (s *Storage) enter() (context.Context, func(), error) {
	return s.e.enter(context.Background())
}

func (s *Storage) explain(ctx context.Context, op string, err error) error {
	return explain(ctx, op, engine.Name{Channel: "storage"}, err)
}

// Get returns the value of a key, nil when there is none.
func (s *Storage) Get(key string) ([]byte, error) {
	if key == "" || len(key) > maxKey {
		return nil, nil
	}
	ctx, leave, err := s.enter()
	if err != nil {
		return nil, s.explain(ctx, "get", err)
	}
	defer leave()
	m, err := get(ctx, s.e.main, s.e.state.name, question{Last: s.subject(key)})
	if errors.Is(err, errNoMessage) || err == nil && m.gone() {
		return nil, nil
	}
	if err != nil {
		return nil, s.explain(ctx, "get", err)
	}
	return m.data, nil
}

// Set stores a value until expiry has passed, for ever if that is 0. An empty key
// or value is ignored, as Fiber's storages do. A key has at most 1024 bytes, a
// value Config.MaxEntry.
func (s *Storage) Set(key string, value []byte, expiry time.Duration) error {
	if key == "" || len(value) == 0 {
		return nil
	}
	ctx, leave, err := s.enter()
	if err != nil {
		return s.explain(ctx, "set", err)
	}
	defer leave()
	if len(key) > maxKey || len(value) > s.e.config.MaxEntry {
		return s.explain(ctx, "set", fmt.Errorf("%w: a key of %d and a value of %d bytes, at most %d and %d are allowed", engine.ErrTooLarge, len(key), len(value), maxKey, s.e.config.MaxEntry))
	}
	msg := &natsgo.Msg{Subject: s.subject(key), Header: natsgo.Header{}, Data: value}
	if expiry > 0 {
		msg.Header.Set(headerMsgTTL, serverTTL(expiry))
	}
	_, err = publish(ctx, s.e.main, msg)
	return s.explain(ctx, "set", unavailable(err))
}

// Delete removes a key. One that is not there is no error.
func (s *Storage) Delete(key string) error {
	if key == "" || len(key) > maxKey {
		return nil
	}
	ctx, leave, err := s.enter()
	if err != nil {
		return s.explain(ctx, "delete", err)
	}
	defer leave()
	_, err = publish(ctx, s.e.main, tombstone(s.subject(key)))
	return s.explain(ctx, "delete", unavailable(err))
}

// Reset removes all keys of this Storage.
func (s *Storage) Reset() error {
	ctx, leave, err := s.enter()
	if err != nil {
		return s.explain(ctx, "reset", err)
	}
	defer leave()
	return s.explain(ctx, "reset", purge(ctx, s.e.main, s.e.state.name, s.root+".>"))
}

// Close does nothing: a Storage ends with its Engine.
func (s *Storage) Close() error { return nil }
