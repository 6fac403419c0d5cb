package faults

import (
	"context"
	"encoding/json"
	"errors"

	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ocsigo/comet/faults/internal/app"
	"github.com/ocsigo/comet/faults/internal/proc"
)

// nodeConfig is the config of the role node: a node of an app as a process of its own.
type nodeConfig struct {
	URLs     string // of its NATS servers
	Channels []string
	Size     int
	Addr     string
}

func serveNode(config []byte, ready func(string), end <-chan os.Signal) error {
	var c nodeConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log, err := open(ctx, c.URLs)
	if err != nil {
		return err
	}
	n, err := app.Start(app.Config{Engine: log, Storage: log.Storage("sessions"), Channels: c.Channels, Size: c.Size, Addr: c.Addr})
	if err != nil {
		return err
	}
	ready(n.Addr)
	<-end
	ctx, cancel = context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(n.Stop(ctx), log.Close(ctx))
}

// startNode starts one, in a network namespace where netns is not empty.
func startNode(t *testing.T, c nodeConfig, netns string) *proc.Process {
	t.Helper()
	return proc.Start(t, "node", c, netns)
}

// A balancer asks nodes whether they are ready, as one before an app does, and gives
// those that are.
type balancer struct {
	mu    sync.Mutex
	ready map[string]bool
	nodes []string
}

func newBalancer(t *testing.T, nodes []string) *balancer {
	b := &balancer{ready: map[string]bool{}, nodes: nodes}
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, addr := range nodes {
		b.ready[addr] = true
		asking.Go(func() {
			for ctx.Err() == nil {
				b.ask(ctx, client, addr)
				select {
				case <-ctx.Done():
				case <-time.After(250 * time.Millisecond):
				}
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		asking.Wait()
	})
	return b
}

func (b *balancer) ask(ctx context.Context, client *http.Client, addr string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/ready", nil)
	if err != nil {
		panic(err)
	}
	resp, err := client.Do(req)
	ok := err == nil && resp.StatusCode < 300
	if err == nil {
		resp.Body.Close()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready[addr] = ok
}

// healthy gives all nodes where none is: a balancer has to choose one.
func (b *balancer) healthy() (list []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, addr := range b.nodes {
		if b.ready[addr] {
			list = append(list, addr)
		}
	}
	if len(list) == 0 {
		return b.nodes
	}
	return list
}

func (b *balancer) isReady(addr string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ready[addr]
}

// until waits for what has to come.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never came: ", what)
		}
	}
}
