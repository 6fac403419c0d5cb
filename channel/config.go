package channel

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/ocsigo/comet/scope"
)

// Config says what Create cannot know. Every field is optional.
//
// Names are of A-Z a-z 0-9 _ . : / -, the first a letter, a digit or _, at most
// 128 bytes, and not open, error, message or comet:…, which mean something else
// to an EventSource.
type Config struct {
	// Name is unique among a site's living channels, or a client process's.
	// Names are public: whoever knows one may ask to hear a site's channel.
	// Default: a fresh name that cannot be guessed.
	Name string
	// Size is how many values are kept, exactly: of a site, the last ones, for
	// all readers; of a client process, those not yet sent and, besides, as
	// many of those sent. There it bounds a burst, also for a fast reader: what
	// is sent faster than the connection takes it, waits. Default: 1000; at
	// most 1<<30.
	Size int
	// MaxBytes bounds the values kept in bytes too. Default: 8 MiB.
	MaxBytes int
	// Event is the event name the page listens for. Default: Name.
	Event string
	// Unnamed leaves the event name out, for EventSource's onmessage.
	Unnamed bool
	// Encoding turns values into an event's data. Default: JSON.
	Encoding Encoding
}

// NewestConfig says what CreateNewest cannot know: as [Config], but a newest
// channel keeps one value.
type NewestConfig struct {
	Name     string   // default: a fresh name that cannot be guessed
	Event    string   // default: Name
	Unnamed  bool     // no event name, for EventSource's onmessage
	Encoding Encoding // default: JSON
}

// UnlimitedConfig says what CreateUnlimited cannot know: as [Config], but an
// unlimited channel has no size.
type UnlimitedConfig struct {
	Name     string   // default: a fresh name that cannot be guessed
	Event    string   // default: Name
	Unnamed  bool     // no event name, for EventSource's onmessage
	Encoding Encoding // default: JSON
	// Continuous reads the next value as soon as the socket has taken the last
	// one, without being asked: for streams that wait until there is news. A
	// stream that always has a value would be read as fast as the network goes.
	Continuous bool
}

// one returns the only config given, or none. Two are a mistake of the caller,
// and no time to guess which one counts.
func one[C any](call string, config []C) (c C, err error) {
	switch len(config) {
	case 0:
		return c, nil
	case 1:
		return config[0], nil
	}
	return c, fmt.Errorf("%w: %s takes one %T, got %d: merge them", ErrBadConfig, call, c, len(config))
}

// carried is what a channel's values are, for Find to compare.
type carried struct {
	typ      reflect.Type
	encoding string
}

func carriedAs[T any](enc Encoding) carried { return carried{reflect.TypeFor[T](), enc.Name()} }

func (c carried) String() string { return c.typ.String() + " as " + c.encoding }

// spec begins a Spec with what all configs have in common. The strings are
// copied: a request's do not outlive it.
func spec(kind scope.Kind, name, event string, unnamed bool) scope.Spec {
	return scope.Spec{Kind: kind, Name: strings.Clone(name), Event: strings.Clone(event), Unnamed: unnamed}
}

// encodingFor returns the encoding of a config, if it can carry T.
func encodingFor[T any](e Encoding) (Encoding, error) {
	if e == nil {
		e = JSON
	}
	if e.Name() == "" {
		return nil, fmt.Errorf("%w: Encoding %T has an empty Name: give it one that tells it from others", ErrBadConfig, e)
	}
	if err := e.Check(reflect.TypeFor[T]()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadConfig, err)
	}
	return e, nil
}
