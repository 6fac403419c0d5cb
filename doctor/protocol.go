package doctor

import "time"

// A probe is an event stream that comet.Doctor answers: GET with ?probe=ID, of the
// client's choice, and &phase=.
const (
	// PhaseTicks is hello, Ticks ticks, Every apart, and the end. To a client that
	// comes back with a Last-Event-ID it is as PhaseOpen.
	PhaseTicks = "ticks"
	// PhaseOpen is hello, and then nothing until the client leaves, for a minute.
	PhaseOpen = "open"
	// PhaseIdle is hello, a heartbeat of silence, and beat, twice, then the end.
	PhaseIdle = "idle"

	Ticks = 8
	Every = 250 * time.Millisecond
	// AtOnce is how many event streams are opened at once.
	AtOnce = 8
)

// The events of a probe. The data of hello is a [Seen], of tick a [Sent].
const (
	EventHello = "hello"
	EventTick  = "tick"
	EventBeat  = "beat"
)

// Seen is what the server saw of the request that it is in answer to.
type Seen struct {
	Protocol    string            `json:"protocol"` // of the last hop
	Scheme      string            `json:"scheme"`   // as the app believes it
	Host        string            `json:"host"`
	Address     string            `json:"address"` // of the client, as the app believes it
	LastEventID string            `json:"lastEventId,omitempty"`
	Forwarded   map[string]string `json:"forwarded,omitempty"` // what proxies say of themselves
	Trusted     bool              `json:"trusted"`             // a command would be one of this origin
	Heartbeat   int64             `json:"heartbeat"`           // the Site's, in milliseconds
}

// Sent says when a tick was written, in milliseconds from the hello's being
// written.
type Sent struct {
	N  int     `json:"n"`
	At float64 `json:"at"`
}

// Left tells whether the server has seen the client of a probe leave.
type Left struct {
	Left bool `json:"left"`
}

// Measured is what a client measured. Times are in milliseconds; a part that is
// nil was not measured.
type Measured struct {
	URL      string            `json:"url"`
	Trip     float64           `json:"trip"`     // the shortest of some requests
	Protocol string            `json:"protocol"` // of the first hop, such as HTTP/1.1 or h2
	Status   int               `json:"status"`   // of the ticks, or why it could not be asked:
	Error    string            `json:"error,omitempty"`
	Header   map[string]string `json:"header"` // of the ticks' response
	Opened   float64           `json:"opened"` // when the headers came, from the request's being sent
	First    float64           `json:"first"`  // when the first event came, at best, of some event streams
	Seen     *Seen             `json:"seen"`
	Ticks    []Tick            `json:"ticks"`
	End      string            `json:"end"` // clean, cut, never
	Returned *Returned         `json:"returned"`
	Left     *Left             `json:"left"`
	Command  *Command          `json:"command"`
	AtOnce   *Crowd            `json:"atOnce"`
	Idle     *Idle             `json:"idle"`
}

// A Tick is when it was written, from the hello's being written, and when it was
// heard, from the request's being sent.
type Tick struct {
	Sent  float64 `json:"sent"`
	Heard float64 `json:"heard"`
}

// Returned is the Last-Event-ID that was sent, and the one that arrived.
type Returned struct {
	Said    string `json:"said"`
	Arrived string `json:"arrived"`
}

// Command is how a POST was answered.
type Command struct {
	Status int   `json:"status"`
	Seen   *Seen `json:"seen"`
}

// Crowd is how many of AtOnce event streams were answered while all were open.
type Crowd struct {
	Answered    int `json:"answered"`
	Connections int `json:"connections"`
}

// Idle is how silence was survived.
type Idle struct {
	Beats    int     `json:"beats"`    // of 2
	Silence  float64 `json:"silence"`  // before the connection was cut
	Finished bool    `json:"finished"` // the end came
}
