package scope

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A handing is that of one process to another node. While it lasts nothing is told
// of the process here.
type handing struct {
	done      chan struct{}
	successor string // set before done is closed; "": nobody has it
}

func (h *handing) over() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

func (p *ClientProcess) handing() *handing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

const (
	handWithin  = time.Minute // for all processes of a node
	handAtOnce  = 8           // processes
	handTries   = 5           // of a part, besides the first
	handBytes   = 64 << 20    // of one process
	yieldWithin = time.Second // for reads that run to give their values up
	movedWithin = time.Hour   // a node's successor is on record, at most
)

// handOver gives the node's client processes to another one, if there is one that
// takes them, and says so on record. It reports whether others live that can carry the
// readers on.
func (n *node) handOver() (others bool) {
	n.site.mu.Lock()
	processes := slices.Collect(maps.Values(n.site.processes))
	n.site.mu.Unlock()
	ctx, cancel := context.WithTimeout(n.site.ctx, handWithin)
	defer cancel()
	successor := ""
	ids, err := n.neighbours(ctx)
	others = err == nil && len(ids) > 0
	if len(processes) > 0 && others {
		successor = n.handAll(ctx, ids, processes)
	}
	n.stop() // the record is not renewed any more
	<-n.left
	if successor == "" {
		if err := n.cluster.DropRecord(ctx, n.name); err != nil {
			n.site.getHooks().Logger.Warn("comet: this node's record stays until it expires", "error", err)
		}
		return others
	}
	n.recordMove(ctx, successor)
	return others
}

// handAll returns which of the nodes has the processes now, "" for none.
func (n *node) handAll(ctx context.Context, ids []string, processes []*ClientProcess) (successor string) {
	n.mu.Lock()
	n.ended = map[string]struct{}{}
	n.mu.Unlock()
	endReads(processes)
	for _, p := range processes {
		p.freeze()
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	var faults []error
	for _, id := range ids {
		if err := n.handTo(ctx, id, processes); err != nil {
			faults = append(faults, err)
			continue
		}
		successor = id
		n.endedMeanwhile(ctx, id)
		break
	}
	if successor == "" {
		n.site.getHooks().Logger.Error("comet: no node took this one's client processes: they are lost", "error", errors.Join(faults...))
	}
	return successor
}

// endedMeanwhile has the sessions that ended while their processes were on their way
// end at the successor. From now on who asks for that here is sent there.
func (n *node) endedMeanwhile(ctx context.Context, successor string) {
	n.mu.Lock()
	n.follows = successor
	ended := n.ended
	n.ended = nil
	n.mu.Unlock()
	for key := range ended {
		asking, cancel := context.WithTimeout(ctx, n.patience())
		_, _, _ = n.ask(asking, successor, parcel{byte(askEndSession)}.text(key)) // or its heartbeat finds out
		cancel()
	}
}

// each calls f for every process, a few at a time.
func each(processes []*ClientProcess, f func(*ClientProcess)) {
	var work sync.WaitGroup
	open := make(chan struct{}, handAtOnce)
	for _, p := range processes {
		open <- struct{}{}
		work.Go(func() {
			f(p)
			<-open
		})
	}
	work.Wait()
}

// errTooBig: one process alone is not handed over.
var errTooBig = fmt.Errorf("more than %d MiB wait for a client process", handBytes>>20)

// handTo gives all processes to one node. Of an error nobody has them.
func (n *node) handTo(ctx context.Context, id string, processes []*ClientProcess) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	taken := make([]bool, len(processes))
	index := make(map[*ClientProcess]int, len(processes))
	for i, p := range processes {
		index[p] = i
	}
	each(processes, func(p *ClientProcess) {
		switch err := n.hand(ctx, id, p); {
		case err == nil:
			taken[index[p]] = true
		case p.state.ended():
		case errors.Is(err, errTooBig):
			n.site.getHooks().Logger.Error("comet: a client process was not handed over", "error", err)
		default:
			cancel(err)
		}
	})
	if ctx.Err() != nil {
		return fmt.Errorf("node %s: %w", id, context.Cause(ctx))
	}
	for i, p := range processes {
		if taken[i] {
			p.handing().successor = id
		}
	}
	return nil
}

// hand gives one process to a node, in parts. A part whose answer was lost is sent
// again.
func (n *node) hand(ctx context.Context, id string, p *ClientProcess) error {
	data, err := p.pack()
	if err != nil {
		return err
	}
	most := min(n.site.caps.MaxEntry-overhead, 256<<10)
	transfer := rand.Uint64()
	for part := uint64(0); ; part++ {
		size := min(len(data), most)
		request := parcel{byte(askAdopt)}.text(p.token).number(transfer).number(part).flags(size == len(data)).bytes(data[:size])
		for try := 0; ; try++ {
			asking, cancel := context.WithTimeout(ctx, n.patience())
			what, _, err := n.ask(asking, id, request)
			cancel()
			if err == nil && what == wasDone {
				break
			}
			if try == handTries || ctx.Err() != nil || errors.Is(err, errDead) {
				return errors.Join(fmt.Errorf("it does not take a client process (%d)", what), err)
			}
			select { // it may be busy with others, or just not hold its lease
			case <-ctx.Done():
			case <-time.After(n.lease / 20):
			}
		}
		if data = data[size:]; len(data) == 0 {
			return nil
		}
	}
}

// recordMove puts the successor on record, and tells the relays of other nodes. From
// then on who comes with a token of this node is sent there.
func (n *node) recordMove(ctx context.Context, successor string) {
	life := max(min(n.site.config.ReturnWithin, movedWithin), n.lease)
	for try := 0; ; try++ {
		err := n.cluster.SetRecord(ctx, n.name, []byte(recordMoved+successor), life)
		if err == nil {
			break
		}
		if try == 5 || ctx.Err() != nil {
			n.site.getHooks().Logger.Error("comet: who has this node's client processes is not on record: tabs that come later will find them gone", "error", err)
			break
		}
		time.Sleep(n.lease / 20)
	}
	n.mu.Lock()
	n.until = time.Now().Add(life) // it speaks for nothing but that
	n.mu.Unlock()
}

// announce ends the handing of every process: it is known who has it.
func (n *node) announce() {
	n.site.mu.Lock()
	processes := slices.Collect(maps.Values(n.site.processes))
	n.site.mu.Unlock()
	for _, p := range processes {
		if h := p.handing(); h != nil {
			close(h.done)
			p.mu.Lock()
			p.wake()
			p.mu.Unlock()
		}
	}
}

// freeze ends the process's sources, and has nothing told of it any more.
func (p *ClientProcess) freeze() {
	p.mu.Lock()
	if !p.state.ended() { // first: nothing can be made in it any more
		p.over = &handing{done: make(chan struct{})}
	}
	boxes := slices.Clone(p.boxes)
	inboxes := slices.Collect(maps.Values(p.inboxes))
	p.mu.Unlock()
	for _, c := range boxes {
		c.end(ErrShutdown)
	}
	for _, i := range inboxes {
		i.end(ErrShutdown)
	}
}

// endReads interrupts the reads that run, and waits a moment, one for all processes,
// for the values that they may give up.
func endReads(processes []*ClientProcess) {
	var running []<-chan struct{}
	for _, p := range processes {
		running = append(running, p.endReads()...)
	}
	late := time.NewTimer(yieldWithin)
	defer late.Stop()
	for _, rest := range running {
		select {
		case <-rest:
		case <-late.C:
			return
		}
	}
}

// endReads has no read begin any more, and returns what is closed by the end of each
// that runs.
func (p *ClientProcess) endReads() (running []<-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resting = true
	for _, c := range p.boxes {
		c.pull.stop()
		if c.pull.running {
			rest := make(chan struct{})
			c.pull.rest = func() { close(rest) }
			running = append(running, rest)
		}
	}
	return running
}
