package scope

import (
	"context"
	"crypto/rand"
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
	failing bool          // the last renewal did; the node's goroutine's

	mu      sync.Mutex
	until   time.Time         // the lease is held until then; zero: not held
	closed  bool              // nothing is answered any more
	relays  map[string]*relay // the newest of each token
	parts   map[string]*adoption
	coming  map[coming]struct{}
	follows string              // who has its processes now
	ended   map[string]struct{} // sessions, while processes are handed over; nil otherwise
}

// coming is a client process of another node that a command is attaching to an event
// stream.
type coming struct {
	stream *EventStream
	token  string
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
		joined: make(chan struct{}), left: make(chan struct{}), relays: map[string]*relay{}, parts: map[string]*adoption{}, coming: map[coming]struct{}{},
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

// comes reports that no command attaches c yet. Then this one does, until done.
func (n *node) comes(c coming) (done func(), first bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, comes := n.coming[c]; comes {
		return nil, false
	}
	n.coming[c] = struct{}{}
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.coming, c)
	}, true
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
		return n.endsSession(u.text())
	case askAdopt:
		return n.adopts(u)
	case askRoll:
		return n.callRoll(u)
	case askReach:
		return n.reachFor(u)
	case askTabs:
		return n.tabsFor(u)
	}
	return []byte{byte(notNow)} // of a newer version
}
