package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ocsigo/comet/engine"
)

// format numbers how this driver lays out its streams. Another is another driver's.
const format = "1"

// idWindow is how long an item's ID is remembered at least; tombstones stay for
// longer than any node may go on without reading them.
const (
	idWindow     = 2 * time.Minute
	tombstoneTTL = 10 * time.Minute
)

// A stream is one that the Engine keeps things in. Its subjects begin with a root
// that is random for each creation, so that what was meant for a stream that
// somebody deleted is never taken by the one made in its place.
type stream struct {
	name string
	root string
	live string // where it republishes what begins with root; "" if it does not
}

// beat is the subject of what Health and reads publish to learn whether the leader
// of the stream still is one.
func (s *stream) beat() string { return s.root + ".beat" }

// config is how a stream is made. root and live are filled in at creation.
type config struct {
	name      string
	subject   string // the root without its random end
	perKey    int64  // messages kept on one subject
	republish bool
	ttl       bool // messages may expire
}

func (e *Engine) namesConfig() config {
	return config{
		name: "COMET_" + e.config.Namespace + "_names", subject: e.config.Namespace + ".names",
		perKey: 1, republish: true, ttl: true,
	}
}

func (e *Engine) stateConfig() config {
	return config{
		name: "COMET_" + e.config.Namespace + "_state", subject: e.config.Namespace + ".state",
		perKey: 1, ttl: true,
	}
}

// logConfig is of the stream that keeps logs of a size class. It keeps one message
// more than the class says: the anchor of who is a whole log behind.
func (e *Engine) logConfig(class, shard int) config {
	return config{
		name:    fmt.Sprintf("COMET_%s_%d_%d", e.config.Namespace, class, shard),
		subject: fmt.Sprintf("%s.log.%d.%d", e.config.Namespace, class, shard),
		perKey:  int64(class) + 1, republish: true,
	}
}

// class returns the size class of a log: 1, 16, 128, 1024, and so on by eights.
func class(size int) int {
	if size == 1 {
		return 1
	}
	for c := 16; ; c *= 8 {
		if size <= c || c > 1<<40 {
			return max(c, size)
		}
	}
}

func (e *Engine) wanted(c config) (jetstream.StreamConfig, *stream) {
	root := c.subject + "." + random(6)
	s := &stream{name: c.name, root: root}
	w := jetstream.StreamConfig{
		Name:              c.name,
		Description:       "Comet: see github.com/ocsigo/comet/engine/nats",
		Subjects:          []string{root + ".>"},
		Retention:         jetstream.LimitsPolicy,
		MaxMsgsPerSubject: c.perKey,
		Discard:           jetstream.DiscardOld,
		Storage:           jetstream.FileStorage,
		Replicas:          e.config.Replicas,
		AllowDirect:       true,
		Duplicates:        idWindow,
		Metadata:          map[string]string{"comet-format": format, "comet-shards": strconv.Itoa(e.config.Shards)},
	}
	if e.config.Memory {
		w.Storage = jetstream.MemoryStorage
	}
	if c.republish {
		s.live = liveRoot(c, root)
		w.RePublish = &jetstream.RePublish{Source: root + ".>", Destination: s.live + ".>"}
	}
	if c.ttl {
		w.AllowMsgTTL = true
		w.SubjectDeleteMarkerTTL = tombstoneTTL
	}
	return w, s
}

// liveRoot is under a subject of its own: what is republished into the stream
// itself would go round.
func liveRoot(c config, root string) string {
	namespace, rest, _ := strings.Cut(root, ".")
	return namespace + ".live." + rest
}

// open returns the stream, which it makes if there is none. A cluster that has just
// started may not know all its servers yet, or have no leader: that is waited for.
func (e *Engine) open(ctx context.Context, c config) (*stream, error) {
	for {
		s, err := e.tryOpen(ctx, c)
		if !transient(err) || pause(ctx, 50*time.Millisecond) != nil {
			return s, err
		}
	}
}

// transient reports that the servers may soon be able to do what they could not.
func transient(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case 10005, 10008, 10009: // no peers for placement, no leader, not available
			return true
		}
		return false
	}
	return errors.Is(err, natsgo.ErrNoResponders) || errors.Is(err, context.DeadlineExceeded)
}

func (e *Engine) tryOpen(ctx context.Context, c config) (*stream, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*attempt)
	defer cancel()
	w, s := e.wanted(c)
	existing, err := e.js.Stream(ctx, c.name)
	if isNoStream(err) {
		existing, err = e.js.CreateStream(ctx, w)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was first
			existing, err = e.js.Stream(ctx, c.name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: stream %s: %w", engine.ErrUnavailable, c.name, err)
	}
	have := existing.CachedInfo().Config
	if err := drift(c, have, w); err != nil {
		return nil, err
	}
	s.root = strings.TrimSuffix(have.Subjects[0], ".>")
	if c.republish {
		s.live = liveRoot(c, s.root)
	}
	return s, nil
}

// drift compares a stream that exists with what this node would make. They differ
// where two versions of an app, or two apps, do not agree; changing the stream
// under the feet of the other could trim its logs.
func drift(c config, have, want jetstream.StreamConfig) error {
	no := func(what string, have, want any) error {
		return fmt.Errorf("engine/nats: stream %s exists with %s %v, this node's Config says %v: use the same Config on all nodes, another Namespace, or delete the stream and with it all that it keeps", c.name, what, have, want)
	}
	switch {
	case have.Metadata["comet-format"] != format:
		return no("comet-format", have.Metadata["comet-format"], format)
	case have.Metadata["comet-shards"] != want.Metadata["comet-shards"]:
		return no("Shards", have.Metadata["comet-shards"], want.Metadata["comet-shards"])
	case have.Replicas != want.Replicas:
		return no("Replicas", have.Replicas, want.Replicas)
	case have.Storage != want.Storage:
		return no("storage", have.Storage, want.Storage)
	case have.MaxMsgsPerSubject != want.MaxMsgsPerSubject:
		return no("MaxMsgsPerSubject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	case have.Duplicates < want.Duplicates:
		return no("a duplicate window of", have.Duplicates, want.Duplicates)
	case have.MaxAge != 0 || have.MaxMsgs > 0 || have.MaxBytes > 0:
		return no("limits", "of its own", "none, for Comet keeps its own bounds")
	case have.Discard != want.Discard || have.Retention != want.Retention:
		return no("discard or retention", have.Discard, want.Discard)
	case !have.AllowDirect || have.AllowMsgTTL != want.AllowMsgTTL || (have.RePublish == nil) != (want.RePublish == nil):
		return no("AllowDirect, AllowMsgTTL or RePublish", "changed", "what the driver set")
	case len(have.Subjects) != 1 || !strings.HasPrefix(have.Subjects[0], c.subject+"."):
		return no("subjects", have.Subjects, c.subject+".….>")
	}
	return nil
}

// logStream returns the stream for the logs of a class and shard.
func (e *Engine) logStream(ctx context.Context, class, shard int) (*stream, error) {
	c := e.logConfig(class, shard)
	e.mu.Lock()
	s := e.streams[c.name]
	e.mu.Unlock()
	if s != nil {
		return s, nil
	}
	return e.reopen(ctx, c)
}

// reopen looks at a stream again that may have been made anew.
func (e *Engine) reopen(ctx context.Context, c config) (*stream, error) {
	s, err := e.open(ctx, c)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if old := e.streams[c.name]; old != nil && *old == *s {
		return old, nil
	}
	e.streams[c.name] = s
	return s, nil
}

// forget drops what is known of a stream, so that it is looked at again.
func (e *Engine) forget(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.streams, name)
}

// serverTime is what the stream's leader has on its clock, which is what it stamps
// messages with.
func (e *Engine) serverTime(ctx context.Context, name string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	s, err := e.js.Stream(ctx, name)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: stream %s: %w", engine.ErrUnavailable, name, err)
	}
	return s.CachedInfo().TimeStamp, nil
}
