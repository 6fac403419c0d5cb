package scope

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/ocsigo/comet/engine"
)

// A node is what a Site is among others whose engine is the same engine.Cluster:
// it has a name that its processes' tokens carry, answers what others ask, and
// keeps a record in the engine that says it lives.
type node struct {
	site    *Site
	cluster engine.Cluster
	name    engine.Node
	lease   time.Duration
	ctx     context.Context // of the renewals
	stop    context.CancelFunc
	joined  chan struct{} // closed with the first record
	left    chan struct{} // closed when the record is not renewed any more
	unserve func()        // ends the Serve; set before left is closed

	mu     sync.Mutex
	until  time.Time         // the lease is held until then; zero: not held
	closed bool              // nothing is answered any more
	relays map[string]*relay // the newest of each token
	parts  map[string]*adoption
}

const (
	nodeLength = 10 // of a node's id
	idDigits   = "0123456789abcdefghijklmnopqrstuvwxyz"
)

// newNode returns the Site's node, nil where its engine is no Cluster.
func newNode(s *Site) *node {
	cluster, ok := s.config.Engine.(engine.Cluster)
	if !ok || !s.caps.Cluster {
		return nil
	}
	n := &node{
		site: s, cluster: cluster, name: engine.Node{Prefix: s.config.Prefix, ID: freshNode()}, lease: s.config.Lease,
		joined: make(chan struct{}), left: make(chan struct{}), relays: map[string]*relay{}, parts: map[string]*adoption{},
	}
	n.ctx, n.stop = context.WithCancel(s.ctx)
	return n
}

func freshNode() string {
	b := make([]byte, nodeLength)
	rand.Read(b) // never fails: it ends the program instead
	for i := range b {
		b[i] = idDigits[int(b[i])%len(idDigits)] // to be unlike others, not to be unguessable
	}
	return string(b)
}

// newToken returns what names a new process: the node, where there is one, and 128
// random bits.
func (s *Site) newToken() string {
	if s.node == nil {
		return randomText(16)
	}
	return s.node.name.ID + randomText(16)
}

// tokenLength is how long the Site's tokens are.
func (s *Site) tokenLength() int {
	if s.node == nil {
		return 22
	}
	return nodeLength + 22
}

// elsewhere returns the id of the node that a token names, if that is another.
func (n *node) elsewhere(token string) (id string, ok bool) {
	if n == nil || len(token) != n.site.tokenLength() {
		return "", false
	}
	id = token[:nodeLength]
	if strings.Trim(id, idDigits) != "" || id == n.name.ID {
		return "", false
	}
	return id, true
}

// The parts of a lease: how long a question may be held that has no news, how long
// an answer may take besides, and how long a relay may be silent.
func (n *node) hold() time.Duration     { return n.lease / 4 }
func (n *node) patience() time.Duration { return n.lease / 5 }
func (n *node) quiet() time.Duration    { return n.lease / 2 }

// live keeps the record, until the node is stopped. It is the node's goroutine.
func (n *node) live() {
	defer n.site.work.Done()
	defer close(n.left)
	n.unserve = n.serve()
	for wait := time.Duration(0); ; {
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(wait):
		}
		if n.renew() {
			wait = n.lease / 3
			continue
		}
		wait = n.lease / 30
		n.fenceWhenDue()
	}
}

// serve has the node answer, as soon as the engine lets it.
func (n *node) serve() (stop func()) {
	for {
		ctx, cancel := context.WithTimeout(n.ctx, n.lease)
		stop, err := n.cluster.Serve(ctx, n.name, n.answer)
		cancel()
		if err == nil {
			return stop
		}
		n.site.getHooks().Logger.Warn("comet: the engine does not let this node serve; trying again", "node", n.name.String(), "error", err)
		select {
		case <-n.ctx.Done():
			return func() {}
		case <-time.After(n.lease / 10):
		}
	}
}

// The record of a node that lives, and of one whose processes another has.
const (
	recordLives = "lives"
	recordMoved = "moved "
)

// renew sets the record. The lease counts from before the call.
func (n *node) renew() (held bool) {
	begun := time.Now()
	late := begun.Add(n.lease / 4)
	n.mu.Lock()
	if n.until.After(begun) && n.until.Before(late) {
		late = n.until // and the fence is due
	}
	n.mu.Unlock()
	ctx, cancel := context.WithDeadline(n.ctx, late)
	defer cancel()
	err := n.cluster.SetRecord(ctx, n.name, []byte(recordLives), n.lease)
	if err != nil {
		if n.ctx.Err() == nil {
			n.site.getHooks().Logger.Warn("comet: this node's record was not renewed", "node", n.name.String(), "error", err)
		}
		return false
	}
	n.mu.Lock()
	n.until = begun.Add(n.lease - n.lease/10)
	n.mu.Unlock()
	select {
	case <-n.joined:
	default:
		close(n.joined)
	}
	return true
}

// holds reports whether nobody can have found this node dead.
func (n *node) holds() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Now().Before(n.until)
}

// fenceWhenDue ends the node's processes before others may find it dead.
func (n *node) fenceWhenDue() {
	n.mu.Lock()
	due := !n.until.IsZero() && !time.Now().Before(n.until)
	if due {
		n.until = time.Time{}
	}
	n.mu.Unlock()
	if !due {
		return
	}
	n.site.getHooks().Logger.Error("comet: this node could not say that it lives: its client processes end", "node", n.name.String())
	n.site.endProcesses(ErrProcessGone)
}

// joinWithin bounds how long the first client process waits for the node's record.
const joinWithin = 10 * time.Second

// mayMake returns nil while the node may have client processes. It waits for the
// first record.
func (n *node) mayMake() error {
	if n == nil {
		return nil
	}
	select {
	case <-n.joined:
	default:
		late := time.NewTimer(joinWithin)
		defer late.Stop()
		select {
		case <-n.joined:
		case <-late.C:
		case <-n.ctx.Done():
		}
	}
	if n.holds() || n.ctx.Err() != nil {
		return nil // or Shutdown is said
	}
	return fmt.Errorf("%w: node %v cannot say that it lives, so another node would take its client processes for lost: try again", engine.ErrUnavailable, n.name)
}

// enter counts one answer among the Site's work, unless the node is closed.
func (n *node) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.site.work.Add(1)
	return true
}

// close has the node answer nothing more, and ends its goroutine.
func (n *node) close() {
	if n == nil {
		return
	}
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.stop()
	<-n.left
	n.unserve()
}

// answer is what the engine calls with what other nodes ask.
func (n *node) answer(ctx context.Context, request []byte) (reply []byte) {
	if !n.enter() {
		return []byte{byte(notNow)}
	}
	defer n.site.work.Done()
	defer func() {
		if v := recover(); v != nil {
			n.site.getHooks().Logger.Error("comet: answering another node panicked", "panic", v, "stack", string(debug.Stack()))
			reply = []byte{byte(notNow)}
		}
	}()
	if len(request) == 0 || !n.holds() {
		return []byte{byte(notNow)}
	}
	return n.about(ctx, asked(request[0]), &unparcel{rest: request[1:]})
}

func (n *node) about(ctx context.Context, what asked, u *unparcel) []byte {
	switch what {
	case askKnock:
		return n.knocked(u)
	case askAttach:
		return n.attaches(u)
	case askNext:
		return n.nextFor(ctx, u)
	case askLeave:
		return n.leaves(u)
	case askStep:
		return n.stepFor(ctx, u)
	case askBoard:
		return n.boardFor(ctx, u)
	case askEndSession:
		n.site.endSession(u.text())
		return []byte{byte(wasDone)}
	case askAdopt:
		return n.adopts(u)
	}
	return []byte{byte(notNow)} // of a newer version
}

// What stands in the way of an answer.
var (
	errDead = errors.New("the node is dead")
	errAway = errors.New("the node cannot be reached at the moment")
)

// ask asks another node once. errDead means that its record is no more; errAway
// that nobody knows. Where it is wasMoved, body is the node that has its
// processes.
func (n *node) ask(ctx context.Context, id string, request []byte) (what answered, body *unparcel, err error) {
	to := engine.Node{Prefix: n.name.Prefix, ID: id}
	if id == n.name.ID {
		return read(n.answer(ctx, request))
	}
	reply, err := n.cluster.Ask(ctx, to, request)
	if errors.Is(err, engine.ErrTooLarge) {
		return 0, nil, err
	}
	if err == nil {
		what, body, err = read(reply)
		if what != notNow {
			return what, body, err
		}
		err = errAway
	}
	return n.find(ctx, to, err)
}

func read(reply []byte) (answered, *unparcel, error) {
	if len(reply) == 0 {
		return notNow, &unparcel{bad: true}, errAway
	}
	return answered(reply[0]), &unparcel{rest: reply[1:]}, nil
}

// find looks at the record of a node that did not answer, because of why.
func (n *node) find(ctx context.Context, to engine.Node, why error) (answered, *unparcel, error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return 0, nil, fmt.Errorf("%w: %w", errAway, ctx.Err())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.patience()) // the question may have used up the time
	defer cancel()
	record, err := n.cluster.Record(ctx, to)
	if errors.Is(err, engine.ErrNoNode) {
		return 0, nil, errDead
	}
	if moved, ok := strings.CutPrefix(string(record), recordMoved); ok && err == nil && errors.Is(why, engine.ErrNoNode) {
		return wasMoved, &unparcel{rest: parcel(nil).text(moved)}, nil
	}
	return 0, nil, fmt.Errorf("%w: %v: %w", errAway, to, errors.Join(why, err))
}

// maxMoves is how often what was handed over is followed: each is a deployment
// while the tab was away.
const maxMoves = 16

// askWherever asks a node, or the one that has its processes now, and returns who
// answered.
func (n *node) askWherever(ctx context.Context, id string, request []byte) (what answered, body *unparcel, at string, err error) {
	for range maxMoves {
		what, body, err = n.ask(ctx, id, request)
		if err != nil || what != wasMoved {
			return what, body, id, err
		}
		id = body.text()
	}
	return 0, nil, id, fmt.Errorf("%w: its processes were moved %d times", errAway, maxMoves)
}

// neighbours returns the ids of the other nodes that live.
func (n *node) neighbours(ctx context.Context) ([]string, error) {
	records, err := n.cluster.Records(ctx, n.name.Prefix)
	if err != nil {
		return nil, err
	}
	var ids []string
	for id, record := range records {
		if id != n.name.ID && string(record) == recordLives {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
