package scope

import (
	"context"
	"fmt"
	"time"

	"github.com/ocsigo/comet/engine"
)

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
	for n.ctx.Err() == nil {
		n.forgetParts()
		wait := n.lease / 3
		if !n.renew() {
			wait = n.lease / 30
			n.fenceWhenDue()
		}
		select {
		case <-n.ctx.Done():
		case <-time.After(wait):
		}
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

// renew sets the record. The lease counts from before the call. One that is under way
// when the node is stopped is waited for: it must not undo what is recorded next.
func (n *node) renew() (held bool) {
	begun := time.Now()
	late := begun.Add(n.lease / 4)
	n.mu.Lock()
	if n.until.After(begun) && n.until.Before(late) {
		late = n.until // and the fence is due
	}
	n.mu.Unlock()
	ctx, cancel := context.WithDeadline(n.site.ctx, late)
	defer cancel()
	err := n.cluster.SetRecord(ctx, n.name, []byte(recordLives), n.lease)
	n.tellRenewal(err)
	if err != nil {
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

// tellRenewal logs the first of failures in a row, and their end. It is for the node's
// goroutine.
func (n *node) tellRenewal(err error) {
	log := n.site.getHooks().Logger
	switch {
	case err != nil && !n.failing && n.ctx.Err() == nil:
		log.Warn("comet: this node's record was not renewed; trying again", "node", n.name.String(), "error", err)
	case err == nil && n.failing:
		log.Info("comet: this node's record is renewed again", "node", n.name.String())
	}
	n.failing = err != nil
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
