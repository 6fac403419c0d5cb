package scope

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/ocsigo/comet/internal/cursor"
)

// A board is the event stream that a command acts on: one of this node, or the one
// that carries a client process on another. The zero board is none.
type board struct {
	stream *EventStream
	node   string
	token  string
}

func (b board) none() bool { return b.stream == nil && b.node == "" }

// boardAt returns the event stream that carries the process of token on a node.
func (n *node) boardAt(id, token string) board {
	if id != n.name.ID {
		return board{node: id, token: token}
	}
	n.mu.Lock()
	r := n.relays[token]
	n.mu.Unlock()
	if r != nil {
		return board{stream: r.stream}
	}
	if p, _ := n.site.whereIs(token); p != nil {
		return p.board()
	}
	return board{}
}

// board returns the event stream that carries the process.
func (p *ClientProcess) board() board {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return board{}
	}
	return p.current.by.board()
}

// visit returns the event stream that carries the process, of which a command is a
// sign of life: it starts the clocks anew.
func (p *ClientProcess) visit() board {
	p.mu.Lock()
	p.touch()
	p.mu.Unlock()
	return p.board()
}

// A posting is what a command does to an event stream, on the node that has it.
type posting struct {
	What    string // attach, detach, register, close
	Token   string // of a process that the event stream carries
	Session string
	User    string // attach: who asks, now
	Value   string // what the command says
}

// post carries out a posting where the event stream is. done tells that it was
// heard of there: that there is such a channel, or process.
func (s *Site) post(ctx context.Context, b board, what string, by Reader, value string) (reply Reply, done bool, err error) {
	if b.stream != nil {
		return b.stream.post(ctx, what, by, value)
	}
	l, err := s.node.write(ctx, b.node, askBoard, b.token, posting{what, b.token, by.Session, by.User, value})
	if err != nil {
		return Reply{}, false, err
	}
	return l.Result.Reply, l.Result.Done, l.err()
}

func (s *EventStream) post(ctx context.Context, what string, by Reader, value string) (reply Reply, done bool, err error) {
	switch what {
	case "attach":
		place, err := cursor.ParseProcess(value)
		if err != nil {
			return Reply{}, false, refuse("bad", "attach: %v", err)
		}
		reply, err = s.attach(ctx, by, place, strings.Contains(value, "."))
		return reply, true, err
	case "detach":
		return Reply{State: "detached"}, s.detach(value), nil
	case "register":
		ref, err := cursor.ParseChannel(value)
		if err != nil {
			return Reply{}, false, refuse("bad", "register: %v; use NAME, NAME@POSITION, NAME@-COUNT or NAME@newest", err)
		}
		channel := s.site.audible(ctx, s.reader, ref.Name)
		if channel == nil {
			return Reply{}, false, nil
		}
		reply, err = s.register(channel, ref, strings.Contains(value, "@"))
		return reply, true, err
	case "close":
		done, err := s.close(value)
		return Reply{State: "closed"}, done, err
	}
	return Reply{}, false, refuse("bad", "%s is no command here", what) // of a newer version
}

// boardFor carries out a posting for another node.
func (n *node) boardFor(ctx context.Context, u *unparcel) []byte {
	var what posting
	if err := json.Unmarshal(u.rest, &what); err != nil {
		return []byte{byte(notNow)} // of a newer version
	}
	l := letter{Node: n.name.ID}
	b := n.boardAt(n.name.ID, what.Token)
	if b.stream == nil || b.stream.reader.Session != what.Session {
		l.fault(refuse("conflict", "the event stream has just ended"))
	} else {
		var err error
		l.Result.Reply, l.Result.Done, err = b.stream.post(ctx, what.What, Reader{what.Session, what.User}, what.Value)
		l.fault(err)
	}
	return append(parcel{byte(wasDone)}, encode(l)...)
}
