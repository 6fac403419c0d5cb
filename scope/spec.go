package scope

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/cursor"
)

// The default bounds of one channel.
const (
	DefaultSize     = 1000
	DefaultMaxBytes = 8 << 20
)

// MaxSize is the largest Spec.Size.
const MaxSize = 1 << 30

// Kind tells how a channel keeps and reads its values.
type Kind uint8

// The kinds of channels.
const (
	// Queue keeps the last Size values: a Site for all its readers, a
	// ClientProcess for its tab.
	Queue Kind = iota
	// Newest keeps one value. Only a Site has such channels.
	Newest
	// Pull reads a value only when its tab asks. Only a ClientProcess has such
	// channels.
	Pull
)

// Spec describes a channel to be registered. It is what package channel and this
// one agree on: values are bytes here, their type an opaque token.
type Spec struct {
	Kind Kind
	// Name is unique among the Site's channels, or the process's. Empty: a fresh
	// name that cannot be guessed.
	Name string
	// Event is the event name on the wire. Empty: Name.
	Event string
	// Unnamed leaves the event name out: EventSource's onmessage hears it.
	Unnamed bool
	// Size and MaxBytes bound the values kept, in messages and bytes. 0: the
	// defaults. Size is at most MaxSize.
	Size, MaxBytes int
	// Patient says that the source is read and waits: while a shared engine is away a
	// value is tried again for as long as that takes, and 90 s where it may be stored
	// already, not SiteConfig.PublishWithin alone.
	Patient bool
	// Type is compared by Find with ==.
	Type any
	// Stop is called once, without any lock, when the channel ends for whatever
	// cause: the source's side cancels its context here. It must not lead to the
	// Handle, or an unnamed channel would never be collected. May be nil.
	Stop func(cause error)
	// Pull reads one value, on a goroutine of the process: of Kind Pull only, and
	// needed there. Its context ends when the process is detached or ends, or the
	// channel does. A value it returns in spite of that is kept.
	Pull func(ctx context.Context) ([]byte, error)
	// Continuous reads the next value as soon as the last was accepted by the
	// socket, without being asked: for a Pull that blocks until there is news.
	Continuous bool

	// Personal lets Tabs.Reach find the channel by its name, and makes the
	// process one user's alone: to a tab that comes as another it is gone. For a
	// client process's channel only.
	Personal bool

	fresh bool // Name was made up here
}

// An Owner is a *Site or a *ClientProcess: who may hear a channel, and for how
// long. Nobody else can be one.
type Owner interface {
	register(Spec) (*Handle, error)
	receive(*Inbox) (*Inbox, error)
}

// Register makes a channel in o. On an error (ErrNoProcess, ErrNameTaken,
// ErrBadName, ErrBadSpec, ErrTooMany, ErrShutdown, or the engine's) nothing was
// made and Stop is not called. It may block as long as the site's engine does,
// at most ten seconds; with the memory engine it does not.
func Register(o Owner, s Spec) (*Handle, error) {
	s, err := s.normal()
	if err != nil {
		return nil, err
	}
	return o.register(s)
}

// Check returns the error that Register would have for s in any owner.
func (s Spec) Check() error {
	_, err := s.normal()
	return err
}

// normal returns s with its defaults filled in, checked for all that does not
// depend on the owner.
func (s Spec) normal() (Spec, error) {
	if s.Size < 0 || s.Size > MaxSize || s.MaxBytes < 0 {
		return s, fmt.Errorf("%w: channel %q: Size %d and MaxBytes %d must not be negative, and Size at most %d; 0 is the default",
			ErrBadSpec, s.Name, s.Size, s.MaxBytes, MaxSize)
	}
	if (s.Kind == Pull) != (s.Pull != nil) || s.Continuous && s.Kind != Pull {
		return s, fmt.Errorf("%w: channel %q: a Pull function belongs to channels of kind Pull, and Continuous to them alone",
			ErrBadSpec, s.Name)
	}
	if s.Name == "" {
		s.Name, s.fresh = freshName(), true
	} else if err := checkName("channel", s.Name); err != nil {
		return s, err
	}
	if err := s.checkEvent(); err != nil {
		return s, err
	}
	if s.Size == 0 {
		s.Size = DefaultSize
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = DefaultMaxBytes
	}
	return s, nil
}

func (s *Spec) checkEvent() error {
	switch {
	case s.Unnamed && s.Event != "":
		return fmt.Errorf("%w: channel %q is Unnamed and has the event name %q: leave one of them out",
			ErrBadSpec, s.Name, s.Event)
	case s.Unnamed:
		return nil
	case s.Event == "":
		s.Event = s.Name
		return nil
	}
	return checkName("event", s.Event)
}

// checkName refuses what may not be a name on the wire (rule 15).
func checkName(what, name string) error {
	if !cursor.ValidName(name) {
		return fmt.Errorf("%w: %s name %.140q: allowed are 1 to 128 of A-Z a-z 0-9 _ . : / -, the first a letter, a digit or _",
			ErrBadName, what, name)
	}
	if name == "open" || name == "error" || name == "message" || strings.HasPrefix(name, "comet:") {
		return fmt.Errorf("%w: %s name %q: open, error, message and comet:… have a meaning of their own in EventSource; choose another",
			ErrBadName, what, name)
	}
	return nil
}

// freshName returns a name of 128 random bits.
func freshName() string { return "_" + randomText(16) }

func randomText(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}

func (s Spec) log() engine.Spec {
	return engine.Spec{Size: s.Size, MaxBytes: s.MaxBytes, Newest: s.Kind == Newest}
}
