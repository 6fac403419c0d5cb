package main

import (
	"cmp"
	"context"
	cryptorand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// How often each node is asked whether it is ready, and how long its answer may take.
const (
	probeEvery  = 250 * time.Millisecond
	probeWithin = 3 * time.Second
)

// A status is what the front knows of a node.
type status string

const (
	starting status = "starting" // its process runs, and does not listen yet
	ready    status = "ready"
	waiting  status = "waiting"  // it lives, and cannot reach the log or has not said so in time
	draining status = "draining" // it was told to shut down
	down     status = "down"
)

// A NodeState is a node as the page shows it.
type NodeState struct {
	Name   string `json:"name"`
	State  status `json:"state"`
	Leads  bool   `json:"leads"`  // the chat's log
	Ended  string `json:"ended"`  // how its last process did; "" at first
	Starts int    `json:"starts"` // processes that it has had
}

// A cluster is three nodes, each a process that is started again when it has ended.
type cluster struct {
	again time.Duration
	dir   string
	stop  func() // ends the nodes, waits for that, and removes their files

	mu      sync.Mutex
	nodes   []*node
	changed chan struct{} // closed, and made anew, when a state changes
}

// A node's fields below config are guarded by cluster.mu.
type node struct {
	config  nodeConfig
	state   NodeState
	process *os.Process // nil while it is down
	drained bool        // the process was told to shut down
	streams int         // requests of the front's that it is answering
}

// startCluster starts the nodes and does not wait for them.
func startCluster(again time.Duration) (*cluster, error) {
	dir, err := os.MkdirTemp("", "comet-cluster-")
	if err != nil {
		return nil, err
	}
	c := &cluster{again: again, dir: dir, changed: make(chan struct{})}
	addrs, err := freeAddrs(6)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	password := cryptorand.Text()
	for i, name := range []string{"a", "b", "c"} {
		config := nodeConfig{
			Name: name, Addr: addrs[i], Dir: filepath.Join(dir, name), Route: addrs[3+i], Routes: addrs[3:], Password: password,
		}
		c.nodes = append(c.nodes, &node{config: config, state: NodeState{Name: name, State: down}})
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, n := range c.nodes {
		running.Go(func() { c.keep(ctx, n) })
		running.Go(func() { c.probe(ctx, n) })
	}
	c.stop = func() {
		cancel()
		running.Wait()
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "cluster:", err)
		}
	}
	return c, nil
}

// freeAddrs gives loopback addresses that were free a moment ago. All are held until the last is known, so they differ. They are below
// the ports that systems give to whoever asks for any: a node that is started again is to find its own.
func freeAddrs(n int) (addrs []string, err error) {
	for tries := 0; len(addrs) < n; tries++ {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
		if err != nil {
			if tries > 100 {
				return nil, err
			}
			continue
		}
		defer listener.Close()
		addrs = append(addrs, listener.Addr().String())
	}
	return addrs, nil
}

// keep runs one process of the node after the other, until ctx ends. Whatever ended one, the next starts after c.again.
func (c *cluster) keep(ctx context.Context, n *node) {
	for ctx.Err() == nil {
		ended := c.runOnce(ctx, n)
		c.update(n, func() { n.process, n.state.State, n.state.Leads, n.state.Ended = nil, down, false, ended })
		select {
		case <-ctx.Done():
		case <-time.After(c.again):
		}
	}
}

// runOnce starts a process and waits for its end, and says how that came about.
func (c *cluster) runOnce(ctx context.Context, n *node) string {
	config, err := json.Marshal(n.config)
	if err != nil {
		return err.Error()
	}
	self, err := os.Executable()
	if err != nil {
		return err.Error()
	}
	cmd := exec.CommandContext(ctx, self) // killed when ctx ends
	cmd.Env = append(os.Environ(), nodeVariable+"="+string(config))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	alive, err := cmd.StdinPipe() // ends when this program does
	if err != nil {
		return err.Error()
	}
	defer alive.Close()
	if err := cmd.Start(); err != nil {
		return err.Error()
	}
	c.update(n, func() {
		n.process, n.drained, n.state.State = cmd.Process, false, starting
		n.state.Starts++
	})
	err = cmd.Wait()
	if err == nil {
		return "shut down"
	}
	return err.Error() // "signal: killed"
}

// probe asks the node again and again whether it is ready.
func (c *cluster) probe(ctx context.Context, n *node) {
	client := &http.Client{Timeout: probeWithin, Transport: &http.Transport{DisableKeepAlives: true}}
	every := time.NewTicker(probeEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		c.mu.Lock()
		process := n.process
		c.mu.Unlock()
		if process == nil {
			continue
		}
		state, leads := ask(ctx, client, "http://"+n.config.Addr)
		c.update(n, func() {
			switch {
			case n.process != process: // the answer is of one that has ended
			case n.drained:
				n.state.State, n.state.Leads = draining, false
			case state != "":
				n.state.State, n.state.Leads = state, leads
			}
		})
	}
}

// ask gives "" for a node that does not listen.
func ask(ctx context.Context, client *http.Client, url string) (state status, leads bool) {
	get := func(path string) (*http.Response, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
		if err != nil {
			return nil, err
		}
		return client.Do(request)
	}
	answer, err := get("/ready")
	if err != nil {
		if isDial(err) {
			return "", false
		}
		return waiting, false
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return waiting, false
	}
	if answer, err = get("/leads"); err != nil {
		return waiting, false
	}
	defer answer.Body.Close()
	return ready, json.NewDecoder(answer.Body).Decode(&leads) == nil && leads
}

// isDial tells an error of making a connection, after which nothing can have been sent.
func isDial(err error) bool {
	var failed *net.OpError
	return errors.As(err, &failed) && failed.Op == "dial"
}

// update changes what is known of a node and wakes who waits for that.
func (c *cluster) update(n *node, change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := n.state
	if change(); n.state != before {
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// states gives how the nodes are, and what is closed when that has changed.
func (c *cluster) states() ([]NodeState, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var states []NodeState
	for _, n := range c.nodes {
		states = append(states, n.state)
	}
	return states, c.changed
}

// kill is SIGKILL.
func (c *cluster) kill(name string) error { return c.signal(name, os.Kill) }

// drain is SIGTERM.
func (c *cluster) drain(name string) error { return c.signal(name, syscall.SIGTERM) }

func (c *cluster) signal(name string, s os.Signal) error {
	c.mu.Lock()
	var n *node
	var process *os.Process
	for _, one := range c.nodes {
		if one.config.Name == name {
			n, process = one, one.process
		}
	}
	c.mu.Unlock()
	if n == nil {
		return fmt.Errorf("there is no node %q: they are a, b and c", name)
	}
	if process == nil {
		return fmt.Errorf("node %s does not run: wait until it has been started again", name)
	}
	if err := process.Signal(s); err != nil {
		return fmt.Errorf("node %s: %w", name, err)
	}
	if s == syscall.SIGTERM {
		c.update(n, func() {
			if n.process == process {
				n.drained, n.state.State = true, draining
			}
		})
	}
	return nil
}

// choose gives the nodes in the order in which a request should try them: the wanted one, then those with the fewest
// requests; and who is ready before who merely lives. Nobody who is draining, starting or down is among them.
func (c *cluster) choose(wanted string) []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var usable []*node
	for _, n := range c.nodes {
		if n.state.State == ready || n.state.State == waiting {
			usable = append(usable, n)
		}
	}
	rank := func(n *node) int {
		switch {
		case n.state.State != ready:
			return 2
		case n.config.Name != wanted:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(usable, func(x, y *node) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x.streams, y.streams))
	})
	return usable
}

// busy counts a request of the node's; done is called when it is over.
func (c *cluster) busy(n *node) (done func()) {
	add := func(delta int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		n.streams += delta
	}
	add(1)
	return func() { add(-1) }
}
