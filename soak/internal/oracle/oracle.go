// Package oracle holds what one page hears against the rules (docs/rules.md), event by
// event, from nothing but the bytes that a browser has: the page's URL, and each event's
// name, data and id.
package oracle

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ocsigo/comet/internal/cursor"
	"github.com/ocsigo/comet/sse"
)

// A Value is what every channel of the app under test carries: which channel it is of,
// which life of that, and its number in it, from 1 without a gap.
type Value struct {
	Channel string `json:"c"`
	Life    string `json:"l"`
	Number  uint64 `json:"n"`
	Sent    uint64 `json:"s,omitempty"` // of an echo: the number of the page's send
}

// Kind is how a channel keeps its values.
type Kind string

// The kinds.
const (
	Queue   Kind = "queue"   // of a site: nothing is missing without a word
	Newest  Kind = "newest"  // of a site: what a newer one replaced was not missed
	Private Kind = "private" // of a process: nothing is missing at all, or it is final
)

// Begin says of a channel of a page what its first value may be.
type Begin struct {
	Kind Kind
	// Life and Numbers of the first value: one of From to To, if it is of that life.
	Life     string
	From, To uint64
}

// Lives is what all pages know together of the lives of site channels: in one life the
// positions and the numbers go in step. Safe for concurrent use.
type Lives struct {
	mu sync.Mutex
	m  map[string]life
}

type life struct {
	epoch  string
	offset uint64 // sequence less number
}

// place checks that a value stands where every other page has it.
func (l *Lives) place(v Value, epoch string, seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = map[string]life{}
	}
	key := v.Channel + " " + v.Life
	is := life{epoch, seq - v.Number}
	if was, known := l.m[key]; known && was != is {
		return fmt.Errorf("rule 1: number %d of life %s stands at %s.%d; other values of it are at %d more than their number in epoch %s",
			v.Number, v.Life, epoch, seq, was.offset, was.epoch)
	}
	l.m[key] = is
	return nil
}

// offset is by how much the sequences of a life are more than its numbers.
func (l *Lives) offset(channel, name string) (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	is, known := l.m[channel+" "+name]
	return is.offset, known
}

// A Page is one page's URL and all that was heard by it, over all its connections. It is
// not for concurrent use.
type Page struct {
	lives    *Lives
	address  cursor.Address
	first    map[string]Begin
	channels map[string]*heard // by event name
	gone     map[string]bool   // processes
	places   map[string]place  // as the last id had them
	over     bool              // the last id says that the event stream is
	removed  map[string]bool   // what the last id has no place of, although one before had
	last     string

	slots     map[int]string    // who is attached
	had       map[int]string    // who had a slot last
	due       map[string]uint64 // numbers that have to come yet
	left      map[string]bool   // processes that are not carried any more
	greeted   bool              // on this connection
	away      bool              // told to come back, likewise
	Heartbeat int64
	// Generation is that of the page's own process, as hello told it last.
	Generation uint64

	// Others are the private channels of processes that the page may attach by command, by
	// token and name.
	Others map[string]map[string]Begin

	Values, Holes, Ends, Gone, Left int // what was heard
}

type place struct {
	epoch string
	seq   uint64
}

// heard is how far a page has come with one channel.
type heard struct {
	Begin
	life   string // of the last value
	number uint64
	any    bool // a value was heard
	hole   bool // values may be missing before the next
	reset  bool // the next value may be of another life
	final  bool
	resume uint64
}

// NewPage begins a page. channels are by event name.
func NewPage(lives *Lives, url string, channels map[string]Begin) (*Page, error) {
	_, query, _ := strings.Cut(url, "?")
	address, err := cursor.ParseAddress(query)
	if err != nil {
		return nil, fmt.Errorf("rule 4: the page's URL %q: %w", url, err)
	}
	p := &Page{due: map[string]uint64{}, lives: lives, address: address, first: channels}
	p.begin()
	return p, nil
}

// Connect begins a connection.
func (p *Page) Connect() {
	p.greeted, p.away = false, false
}

// SentAway reports whether the page was told to come back.
func (p *Page) SentAway() bool { return p.away }

// Again is the same page in a duplicated tab, which has heard nothing yet.
func (p *Page) Again() *Page {
	q := &Page{due: p.due, lives: p.lives, address: p.address, Others: p.Others, first: p.first}
	q.begin()
	return q
}

// begin has the page have heard nothing.
func (p *Page) begin() {
	p.channels, p.gone, p.places, p.left = map[string]*heard{}, map[string]bool{}, p.begins(), map[string]bool{}
	p.slots, p.had = map[int]string{}, map[int]string{}
	for name, b := range p.first {
		p.channels[name] = &heard{Begin: b}
	}
}

// begins says where the URL begins, of those channels of which it does.
func (p *Page) begins() map[string]place {
	places := map[string]place{}
	for _, c := range p.address.Channels {
		if c.At.Epoch != "" {
			places[c.Name] = place{c.At.Epoch, c.At.Seq}
		}
	}
	return places
}

// LastID is what an EventSource would send.
func (p *Page) LastID() string { return p.last }

// Token is the page's own process, "" if it has none.
func (p *Page) Token() string { return p.address.Process.Token }

// Over reports whether all that the page hears was said to be final; then, and only
// then, the server may answer 204.
func (p *Page) Over() bool {
	for _, h := range p.channels {
		if !h.final {
			return false
		}
	}
	return true
}

// Behind names a channel of the page that has not heard the newest number, by channel, or
// not what was acknowledged; "" if there is none.
func (p *Page) Behind(newest map[string]Value) string {
	for name, h := range p.channels {
		if v, ok := newest[name]; ok && !h.final && (h.life != v.Life || h.number < v.Number) {
			return fmt.Sprintf("%s: number %d of life %s was heard, and %d of %s is there", name, h.number, h.life, v.Number, v.Life)
		}
	}
	for name, n := range p.due {
		if h := p.channels[name]; !h.final && h.number < n {
			return fmt.Sprintf("%s: number %d was heard, and %d was acknowledged", name, h.number, n)
		}
	}
	return ""
}

// Due takes that the server acknowledged what becomes a private channel's number n.
func (p *Page) Due(name string, n uint64) { p.due[name] = n }

// Carries reports whether the page's process is carried, as far as the page was told.
func (p *Page) Carries() bool { return p.Token() != "" && !p.left[p.Token()] && !p.gone[p.Token()] }

type notice struct {
	Channel string
	Reason  string
	Final   *bool
	Process string
	Resume  string
}

// The reasons that are final, by event (docs/events.md); those of a private channel are
// final whatever they are.
var reasons = map[string]map[string]bool{
	"comet:full":       {"overflow": true, "trimmed": false, "reset": false, "future": false, "cursor": false},
	"comet:end":        {"end": true, "error": true},
	"comet:closed":     {"closed": true, "unavailable": true, "name taken": true, "too many": true},
	"comet:gone":       {"gone": true},
	"comet:superseded": {"newer": true},
}

// Hear takes one event. The error is the first rule that it breaks.
func (p *Page) Hear(e sse.Event) error {
	if p.away {
		return fmt.Errorf("rule 12: %s comes after the page was told to come back", e.Name)
	}
	if e.Name == "comet:away" { // also in the place of everything
		p.away = true
		if e.HasID {
			return fmt.Errorf("rule 4: comet:away with the id %q", e.ID)
		}
		return nil
	}
	if !p.greeted && e.Name != "comet:hello" {
		return fmt.Errorf("rule 15: %s comes before hello", e.Name)
	}
	if e.Name == "comet:hb" {
		if len(e.Data) > 0 || e.HasID {
			return fmt.Errorf("rule 4: a heartbeat with data %q, id %v", e.Data, e.HasID)
		}
		return nil
	}
	if !e.HasID {
		return fmt.Errorf("rule 4: %s has no id", e.Name)
	}
	if len(e.ID) > 512 {
		return fmt.Errorf("rule 4: an id of %d bytes", len(e.ID))
	}
	was := p.places
	moved, err := p.cursor(e.ID)
	if err != nil {
		return err
	}
	switch {
	case e.Name == "comet:hello":
		err = errors.Join(p.passed(e, "", was, moved), p.hello(e))
	case strings.HasPrefix(e.Name, "comet:"):
		err = p.notice(e, was, moved)
	default:
		err = p.value(e, moved)
	}
	if err != nil {
		return err
	}
	return p.forgotten(e, was)
}

// passed checks that what is no value has moved no site channel but its own: the value in
// between would be lost.
func (p *Page) passed(e sse.Event, own string, was, moved map[string]place) error {
	for key, at := range moved {
		if before, known := was[key]; known && key[0] != '-' && key != own && at.epoch == before.epoch {
			return fmt.Errorf("rule 1: %s %s moves %s to %d, of which nothing was said", e.Name, e.Data, key, at.seq)
		}
	}
	return nil
}

// forgotten checks that an id leaves out nothing but what the page was told to be over:
// it would come back to another place, or to none.
func (p *Page) forgotten(e sse.Event, was map[string]place) error {
	if p.over && !p.Over() {
		return fmt.Errorf("rule 4: %s has the id of an event stream that is over, and not all that the page hears was said to be final", e.Name)
	}
	for key := range p.removed {
		token, process := strings.CutPrefix(key, "-")
		switch {
		case process && (p.left[token] || p.gone[token]):
			continue
		case process:
			return fmt.Errorf("rule 11: %s has an id %q without process %s, and it was not told to be gone or superseded", e.Name, e.ID, token)
		}
		if h := p.channels[key]; h != nil && h.final {
			continue
		}
		return fmt.Errorf("rule 4: %s has an id %q without a place of %s, which is not over", e.Name, e.ID, key)
	}
	return nil
}

// cursor reads an id, and returns what it moved.
func (p *Page) cursor(id string) (moved map[string]place, err error) {
	c, err := cursor.ParseCursor(id, p.address)
	if err != nil {
		return nil, fmt.Errorf("rule 4: id %q: %w", id, err)
	}
	p.last, p.over, p.removed = id, c.Over, map[string]bool{}
	if c.Over {
		return nil, nil
	}
	now, moved := map[string]place{}, map[string]place{}
	note := func(key string, at place) {
		now[key] = at
		if p.places[key] != at {
			moved[key] = at
		}
	}
	for _, s := range c.Sites {
		name, epoch := s.Name, s.Position.Epoch
		if name == "" {
			name = p.address.Channels[s.Index].Name
			if epoch == "" {
				epoch = p.address.Channels[s.Index].At.Epoch
			}
		}
		if s.Removed {
			p.removed[name] = true
		} else {
			note(name, place{epoch, s.Position.Seq})
		}
	}
	for _, s := range c.Processes {
		token := s.Token
		if s.Slot == 0 {
			token = p.address.Process.Token
		}
		if s.Removed {
			p.removed["-"+token] = true
		} else {
			note("-"+token, place{"", s.Number})
		}
	}
	for key, at := range moved {
		if was, known := p.places[key]; known && was.epoch == at.epoch && at.seq < was.seq {
			return nil, fmt.Errorf("rule 1: %s goes back from %s.%d to %s.%d", key, was.epoch, was.seq, at.epoch, at.seq)
		}
	}
	for key, was := range p.places {
		if _, still := now[key]; still {
			continue
		}
		if at, begins := p.begins()[key]; begins && at == was && !p.removed[key] {
			now[key] = at // the URL says it
		} else {
			p.removed[key] = true
		}
	}
	p.places = now
	return moved, nil
}

func (p *Page) hello(e sse.Event) error {
	var hello struct {
		Version   int
		Heartbeat int64
		Processes []struct {
			Process    string
			K          int
			Generation uint64
		}
		Removed []string
	}
	if err := json.Unmarshal(e.Data, &hello); err != nil || hello.Version != cursor.Version || hello.Heartbeat < 1000 {
		return fmt.Errorf("rule 15: hello says %s: %v", e.Data, err)
	}
	again := p.greeted
	p.Heartbeat, p.greeted = hello.Heartbeat, true
	for _, c := range hello.Processes {
		if c.K == 0 {
			p.Generation = c.Generation
		}
		switch {
		case c.K == 0 && c.Process != p.Token():
			return fmt.Errorf("rule 3: process %s has slot 0 on the event stream of %q", c.Process, p.Token())
		case c.K == 0 && p.left[c.Process] && again:
			return fmt.Errorf("rule 11: process %s is carried again by an event stream that was told that a newer one has it", c.Process)
		case c.K == 0: // who comes back has it again, if the newer one is gone
			delete(p.left, c.Process)
			continue
		case p.slots[c.K] == c.Process:
			continue
		case p.Others[c.Process] == nil:
			return fmt.Errorf("rule 3: process %s is carried, which the page did not attach", c.Process)
		case p.slots[c.K] != "":
			return fmt.Errorf("rule 3: slot %d is of %s and of %s", c.K, p.slots[c.K], c.Process)
		}
		p.slots[c.K] = c.Process
		delete(p.left, c.Process)
		for name, b := range p.Others[c.Process] {
			p.channels[name+"@"+strconv.Itoa(c.K)] = &heard{Begin: b}
		}
	}
	for _, token := range hello.Removed {
		p.letGo(token)
	}
	return nil
}

// letGo takes that a process is not carried any more.
func (p *Page) letGo(token string) {
	p.left[token] = true
	for k, of := range p.slots {
		if of != token {
			continue
		}
		delete(p.slots, k)
		p.had[k] = token
		for name := range p.channels {
			if strings.HasSuffix(name, "@"+strconv.Itoa(k)) {
				delete(p.channels, name)
			}
		}
	}
	if token != p.Token() {
		return
	}
	for name, h := range p.channels {
		if h.Kind == Private && !strings.Contains(name, "@") {
			h.final = true
		}
	}
}

func (p *Page) notice(e sse.Event, was, moved map[string]place) error {
	var n notice
	if err := json.Unmarshal(e.Data, &n); err != nil {
		return fmt.Errorf("rule 15: %s says %s: %w", e.Name, e.Data, err)
	}
	if err := p.passed(e, n.Channel, was, moved); err != nil {
		return err
	}
	final, known := reasons[e.Name][n.Reason]
	if !known {
		return fmt.Errorf("rule 15: %s has the reason %q", e.Name, n.Reason)
	}
	if e.Name == "comet:gone" || e.Name == "comet:superseded" {
		return p.without(e, n)
	}
	h := p.of(n.Channel)
	if h == nil {
		return fmt.Errorf("rule 15: %s of %q, which the page does not hear", e.Name, n.Channel)
	}
	private := h.Kind == Private
	if n.Final == nil || *n.Final != (final || private) {
		return fmt.Errorf("rule 15: %s of the %s channel %s, reason %s: final is %s", e.Name, h.Kind, n.Channel, n.Reason, e.Data)
	}
	if h.final {
		return fmt.Errorf("rule 15: %s %s after what was final", e.Name, e.Data)
	}
	if n.Reason == "future" || n.Reason == "cursor" {
		return fmt.Errorf("rule 4: %s of %s, and the page said nothing but what it had heard", e.Data, n.Channel)
	}
	if e.Name == "comet:full" && h.Kind == Newest && n.Reason != "reset" {
		return fmt.Errorf("rule 6: a newest channel is full: %s", e.Data)
	}
	h.final, h.hole = *n.Final, true
	h.reset = h.reset || n.Reason == "reset"
	h.resume = 0
	if e.Name != "comet:full" {
		p.Ends++
		return nil
	}
	p.Holes++
	if private != (n.Resume == "") {
		return fmt.Errorf("rule 1: %s of the %s channel %s goes on at %q", n.Reason, h.Kind, n.Channel, n.Resume)
	}
	if _, seq, ok := strings.Cut(n.Resume, "."); ok {
		seq, _, _ = strings.Cut(seq, ".")
		at, err := strconv.ParseUint(seq, 36, 64)
		if err != nil {
			return fmt.Errorf("rule 1: full goes on at %q", n.Resume)
		}
		h.resume = at + 1
	}
	return nil
}

// without takes that a process is not carried any more.
func (p *Page) without(e sse.Event, n notice) error {
	if want := fmt.Sprintf(`{"process":%q,"reason":%q}`, n.Process, n.Reason); string(e.Data) != want || n.Process == "" {
		return fmt.Errorf("rule 8: %s says %s, not %s: it tells more than that", e.Name, e.Data, want)
	}
	if _, other := p.Others[n.Process]; !other && n.Process != p.Token() {
		return fmt.Errorf("rule 8: %s of process %s, which the page never had", e.Name, n.Process)
	}
	if p.gone[n.Process] || p.left[n.Process] {
		return fmt.Errorf("rule 15: %s %s after what was final", e.Name, e.Data)
	}
	if e.Name == "comet:gone" {
		p.gone[n.Process] = true
		p.Gone++
	} else {
		p.Left++
	}
	p.letGo(n.Process)
	return nil
}

// of finds a channel by the name in a notice, which has the suffix of its slot.
func (p *Page) of(name string) *heard { return p.channels[name] }

func (p *Page) value(e sse.Event, moved map[string]place) error {
	var v Value
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return fmt.Errorf("rule 1: %s says %q: %w", e.Name, e.Data, err)
	}
	name, _, _ := strings.Cut(e.Name, "@")
	h := p.of(e.Name)
	switch {
	case (h == nil || h.Kind == Private) && p.left[p.owner(e.Name)]:
		return fmt.Errorf("rule 11: %s %s, and the event stream was told that it does not have process %s any more", e.Name, e.Data, p.owner(e.Name))
	case h == nil:
		return fmt.Errorf("rule 3: %s, which the page does not hear", e.Name)
	case v.Channel != name:
		return fmt.Errorf("rule 7: a value of %s comes as %s", v.Channel, e.Name)
	case h.final:
		return fmt.Errorf("rule 15: %s %s after what was final", e.Name, e.Data)
	case h.Kind == Private && v.Life != h.Life:
		return fmt.Errorf("rule 7: %s %s is of another process; this one's values are of life %s", e.Name, e.Data, h.Life)
	}
	if err := p.follows(h, v); err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	switch {
	case len(moved) == 0:
		return fmt.Errorf("rule 4: %s %s moves no position: id %q", e.Name, e.Data, e.ID)
	case len(moved) > 1:
		return fmt.Errorf("rule 1: %s %s moves %v: of one of them nothing was said", e.Name, e.Data, moved)
	}
	if _, own := moved[p.key(e.Name, h)]; !own {
		return fmt.Errorf("rule 4: %s %s moves %v, and not what it is of", e.Name, e.Data, moved)
	}
	if h.Kind != Private {
		if err := p.lives.place(v, p.places[name].epoch, p.places[name].seq); err != nil {
			return err
		}
	}
	p.Values++
	h.life, h.number, h.any, h.hole, h.reset, h.resume = v.Life, v.Number, true, false, false, 0
	return nil
}

// owner is the process whose private channels have event names like this one; of a slot
// that is free, the last one that had it.
func (p *Page) owner(event string) string {
	_, slot, attached := strings.Cut(event, "@")
	if !attached {
		return p.Token()
	}
	k, _ := strconv.Atoi(slot)
	if token := p.slots[k]; token != "" {
		return token
	}
	return p.had[k]
}

// key is what an event's id moves if it is a value of this channel.
func (p *Page) key(event string, h *heard) string {
	if h.Kind == Private {
		return "-" + p.owner(event)
	}
	return event
}

// follows checks that a value is the one that is due.
func (p *Page) follows(h *heard, v Value) error {
	switch {
	case v.Sent > 0 && v.Sent != v.Number:
		return fmt.Errorf("rule 18: the page's send %d was taken as number %d", v.Sent, v.Number)
	case !h.any && v.Life == h.Life && !h.hole:
		if v.Number < h.From || h.Kind != Newest && v.Number > h.To {
			return fmt.Errorf("rule 2: the first value is number %d, and %d to %d are due", v.Number, h.From, h.To)
		}
	case !h.any && v.Life != h.Life && !h.reset && h.Life != "":
		return fmt.Errorf("rule 1: the first value is of life %s, without a word, where %s is due", v.Life, h.Life)
	case h.any && v.Life != h.life && !h.reset:
		return fmt.Errorf("rule 1: number %d of life %s comes after number %d of %s, without a word", v.Number, v.Life, h.number, h.life)
	case h.any && v.Life == h.life && v.Number <= h.number:
		return fmt.Errorf("rule 2: number %d comes after %d: repeated, or out of order", v.Number, h.number)
	case h.any && v.Life == h.life && v.Number != h.number+1 && !h.hole && h.Kind != Newest:
		return fmt.Errorf("rule 1: number %d comes after %d, without a word", v.Number, h.number)
	}
	if offset, known := p.lives.offset(v.Channel, v.Life); known && h.resume > 0 && h.Kind == Queue && h.resume != v.Number+offset {
		return fmt.Errorf("rule 1: full said that it goes on with %d, and it does with %d", h.resume, v.Number+offset)
	}
	return nil
}

// Names are the event names that the page hears, sorted.
func (p *Page) Names() []string {
	var names []string
	for name := range p.channels {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
