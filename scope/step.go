package scope

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/ocsigo/comet/engine"
)

// A step is what a command does to one client process, on the node that has it.
type step struct {
	What    string // find, lookup, visit, register, want, close, drop, pull, send
	Token   string
	Session string
	Name    string   `json:",omitempty"`
	N       string   `json:",omitempty"` // as it came
	Values  []string `json:",omitempty"`
	Sender  Reader   // who asks, now
}

// A stepResult is what came of it. Node and Token say which event stream carries
// the process, where one does.
type stepResult struct {
	Reply Reply
	Done  bool // register: there is such a channel; close: it was heard, and is closed
	Known bool // close: there is such a channel, or it was registered
	board board
}

// take carries out a step where the process is. Every error is a *CommandError or
// an inbox's own failure.
func (s *Site) take(ctx context.Context, st step) (stepResult, error) {
	p, owner := s.whereIs(st.Token)
	switch {
	case owner != "":
		return s.takeThere(ctx, owner, st)
	case p == nil || !p.isOf(st.Session):
		return stepResult{}, noProcess(st.Token)
	}
	return p.step(ctx, &st)
}

// step needs no lock.
func (p *ClientProcess) step(ctx context.Context, st *step) (r stepResult, err error) {
	switch st.What {
	case "find":
	case "lookup":
		if p.adopted { // its app is not here
			err = noProcess(p.token)
		}
	case "visit":
		r.board = p.visit()
	case "register":
		r.Reply, r.Done, err = p.registerPrivate(st.Name)
	case "want":
		r.Reply, err = p.want(st.Name)
	case "close":
		r.Done, r.Known = p.closeHeard(st.Name)
	case "drop":
		r.Known = p.closeUnheard(st.Name)
	case "pull":
		r.Reply, err = p.pull(st.Name, st.N)
	case "send":
		r.Reply, err = p.send(ctx, st)
	default:
		err = refuse("bad", "%s is no command here", st.What) // of a newer version
	}
	return r, err
}

func noProcess(token string) error {
	return &CommandError{Code: "gone", Message: "no such client process", Process: token}
}

// notReached is what a page is told that may ask again: what it asked for is
// elsewhere, and was done or not.
func notReached(err error) error {
	return &CommandError{
		Code: "away", RetryAfter: time.Second,
		Message: fmt.Sprintf("the node that has the client process does not answer: ask again (%v)", err),
	}
}

// whereIs returns the living process of a token that is here, or the node that has
// it.
func (s *Site) whereIs(token string) (p *ClientProcess, owner string) {
	s.mu.Lock()
	p = s.processes[digest(token)]
	s.mu.Unlock()
	if p == nil {
		owner, _ = s.node.elsewhere(token)
		return nil, owner
	}
	if h := p.handing(); h != nil {
		if !h.over() {
			return nil, s.node.name.ID // asked, it says: not now
		}
		return nil, h.successor
	}
	if p.adopted { // its first node's record says who has it: this may be a copy that was given up
		owner, _ = s.node.elsewhere(token)
		return nil, owner
	}
	if p.state.ended() {
		return nil, ""
	}
	return p, ""
}

// A letter is the answer to a step, or to what is asked of a board.
type letter struct {
	Result stepResult    `json:",omitzero"`
	Node   string        `json:",omitempty"`
	Error  *CommandError `json:",omitempty"`
	Failed string        `json:",omitempty"`
}

func (l *letter) fault(err error) {
	if err != nil && !errors.As(err, &l.Error) {
		l.Failed = err.Error()
	}
}

func (l *letter) err() error {
	switch {
	case l.Error != nil:
		return l.Error
	case l.Failed != "":
		return fmt.Errorf("on node %s: %s", l.Node, l.Failed)
	}
	return nil
}

// stepWithin bounds a step on another node: an inbox may take takeWithin.
const stepWithin = takeWithin + 2*time.Second

func (s *Site) takeThere(ctx context.Context, owner string, st step) (stepResult, error) {
	for i, v := range st.Values { // a letter could not tell it
		if !utf8.ValidString(v) {
			return stepResult{}, notText(i)
		}
	}
	l, err := s.node.write(ctx, owner, askStep, st.Token, st)
	if err != nil {
		return stepResult{}, err
	}
	if l.Node != "" {
		l.Result.board = s.node.boardAt(l.Node, st.Token)
	}
	return l.Result, l.err()
}

// write asks a node by letter about a process.
func (n *node) write(ctx context.Context, to string, what asked, token string, request any) (l letter, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepWithin)
	defer cancel()
	defer context.AfterFunc(n.site.ctx, cancel)()
	answer, body, _, err := n.askWherever(ctx, to, append(parcel{byte(what)}, encode(request)...))
	switch {
	case errors.Is(err, errDead):
		return l, noProcess(token)
	case errors.Is(err, engine.ErrTooLarge):
		return l, refuse("large", "the command is larger than what nodes can tell each other, %d bytes: send fewer values, or come to the node that made the page", n.site.caps.MaxEntry)
	case err != nil:
		return l, notReached(err)
	case answer == wasGone:
		return l, noProcess(token)
	case answer != wasDone:
		return l, notReached(errAway)
	}
	if err := json.Unmarshal(body.rest, &l); err != nil {
		return l, notReached(err)
	}
	return l, nil
}

// stepFor carries out a step for another node.
func (n *node) stepFor(ctx context.Context, u *unparcel) []byte {
	var st step
	if err := json.Unmarshal(u.rest, &st); err != nil {
		return []byte{byte(notNow)} // of a newer version
	}
	p, not := n.owned(st.Token)
	switch {
	case p == nil:
		return not
	case !p.isOf(st.Session):
		return []byte{byte(wasGone)}
	}
	var l letter
	var err error
	l.Result, err = p.step(ctx, &st)
	l.fault(err)
	switch b := l.Result.board; {
	case b.stream != nil:
		l.Node = n.name.ID
	case b.node != "":
		l.Node = b.node
	}
	if l.Failed != "" {
		l.Node = n.name.ID
	}
	return append(parcel{byte(wasDone)}, encode(l)...)
}
