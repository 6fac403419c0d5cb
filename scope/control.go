package scope

import (
	"encoding/json"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/cursor"
)

// The control events' data, as JSON (rule 15).

// channelNotice is the data of comet:full, comet:end and comet:closed.
type channelNotice struct {
	Channel string           `json:"channel,omitempty"`
	Reason  string           `json:"reason"`
	Final   bool             `json:"final"`
	Resume  *engine.Position `json:"resume,omitempty"`
}

// A reason is what a site channel's reader is told in a full, or in a closed that
// is not the channel's own end.
type reason uint8

const (
	none reason = iota
	byCursor
	byFuture
	byReset
	byTrimmed
	byNameTaken
	byTooMany
	byUnavailable
)

func (r reason) String() string {
	return [...]string{"", "cursor", "future", "reset", "trimmed", "name taken", "too many", "unavailable"}[r]
}

// processNotice is the data of comet:gone and comet:superseded.
type processNotice struct {
	Process string `json:"process"`
	Reason  string `json:"reason"`
}

// awayNotice is the data of comet:away.
type awayNotice struct {
	Retry int64 `json:"retry"` // milliseconds
}

// greeting is the data of comet:hello: the first one says all that the event
// stream carries, later ones what a command added or removed.
type greeting struct {
	Version   int              `json:"version"`
	Heartbeat int64            `json:"heartbeat"` // milliseconds
	Processes []greetedProcess `json:"processes,omitempty"`
	Channels  []greetedChannel `json:"channels,omitempty"`
	Removed   []string         `json:"removed,omitempty"`
}

// greetedProcess tells which suffix a process's event names have: none for K 0,
// else "@K".
type greetedProcess struct {
	Process    string           `json:"process"`
	K          int              `json:"k"`
	Generation uint64           `json:"generation"`
	Channels   []greetedChannel `json:"channels,omitempty"`
}

// greetedChannel tells of a site channel and the position after which it is
// heard, or of a private one, which has no position.
type greetedChannel struct {
	Channel  string           `json:"channel"`
	Event    *string          `json:"event,omitempty"` // of its values, where that is not Channel; "": none
	Position *engine.Position `json:"position,omitempty"`
	Pull     bool             `json:"pull,omitempty"` // it is read on demand

	over bool // it has ended: what is left of it comes
}

func (s *Spec) greeted() greetedChannel {
	return greetedChannel{Channel: s.Name, Event: eventBeside(s.Name, s.Event), Pull: s.Kind == Pull}
}

// eventBeside is what a hello has to say of an event name.
func eventBeside(channel, event string) *string {
	if event == channel {
		return nil
	}
	other := event // allocated only here
	return &other
}

// event returns the event name, empty for none.
func (c greetedChannel) event() string {
	if c.Event == nil {
		return c.Channel
	}
	return *c.Event
}

func (s *Site) newGreeting() greeting {
	return greeting{Version: cursor.Version, Heartbeat: s.config.Heartbeat.Milliseconds()}
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil { // strings, numbers and valid positions
		panic("scope: " + err.Error())
	}
	return data
}
