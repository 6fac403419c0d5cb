// Package storm puts load on the nodes of an app while something happens to them, and
// judges what readers heard: every acknowledged value once and in order, or a hole
// that was told with its reason.
package storm

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ocsigo/comet/faults/internal/ledger"
	"github.com/ocsigo/comet/faults/internal/tab"
)

// Config is the load.
type Config struct {
	Nodes    func() []string // the addresses, host:port, of the nodes that a balancer believes to live
	Channels []string
	Senders  int           // for all channels; each sends to one node as long as that answers
	Pause    time.Duration // of a sender between two values
	Tabs     int           // each hears three channels
	Cut      time.Duration // the mean life of half of the tabs' connections
	Mine     bool          // tabs have private channels, which are sent to
	Seed     uint64
}

// A Storm is one that runs.
type Storm struct {
	t      *testing.T
	config Config
	ledger *ledger.Ledger
	tabs   []*tab.Tab
	hears  [][]string // by tab
	client *http.Client

	listening, sending sync.WaitGroup
	hush, leave        context.CancelFunc // end the senders, end the tabs

	mu       sync.Mutex
	outcomes map[string]int // of sends, by what was answered
	gap      time.Duration  // the longest time in which no site channel's value was acknowledged
	acked    time.Time      // when something was
}

// patience bounds every wait. Nothing here takes that long; only what never happens does.
const patience = time.Minute

// Start opens the tabs and begins to send. The seed is logged.
func Start(t *testing.T, c Config) *Storm {
	t.Helper()
	t.Logf("seed: COMET_SEED=%d", c.Seed)
	s := &Storm{
		t: t, config: c, ledger: ledger.New(), outcomes: map[string]int{}, acked: time.Now(),
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Second}},
	}
	listen, leave := context.WithCancel(context.Background())
	send, hush := context.WithCancel(context.Background())
	s.leave, s.hush = leave, hush
	t.Cleanup(s.end)
	for i := range c.Tabs {
		s.open(listen, i)
	}
	for i := range c.Senders {
		s.sending.Go(func() { s.send(send, i) })
	}
	if c.Mine {
		s.sending.Go(func() { s.sendMine(send) })
	}
	return s
}

func (s *Storm) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(s.config.Seed, stream)) }

// open opens tab i.
func (s *Storm) open(listen context.Context, i int) {
	s.t.Helper()
	random := s.random(uint64(i) + 1<<20)
	names := make([]string, 0, 3)
	for k := range min(3, len(s.config.Channels)) {
		names = append(names, s.config.Channels[(i+k)%len(s.config.Channels)])
	}
	c := tab.Config{Channels: names, Mine: s.config.Mine, Random: random, Balance: func() string { return s.any(random) }}
	if i%2 == 0 {
		c.Cut = s.config.Cut
	}
	ctx, cancel := context.WithTimeout(listen, patience)
	defer cancel()
	tb, err := tab.Open(ctx, c)
	if err != nil {
		s.t.Fatalf("tab %d: %v", i, err)
	}
	s.tabs, s.hears = append(s.tabs, tb), append(s.hears, names)
	s.listening.Go(func() { tb.Listen(listen) })
}

// any is what a balancer chooses. Random is used by one goroutine only.
func (s *Storm) any(random *rand.Rand) string {
	nodes := s.config.Nodes()
	return nodes[random.IntN(len(nodes))]
}

// send is sender i: its values go to one channel, in their order.
func (s *Storm) send(ctx context.Context, i int) {
	random := s.random(uint64(i))
	channel := s.config.Channels[i%len(s.config.Channels)]
	node := s.any(random)
	for n := 1; ctx.Err() == nil; n++ {
		v := ledger.Value{Sender: fmt.Sprint("s", i), Number: n}
		s.ledger.Try(channel, v)
		if !s.post(node, "/publish", channel, v, url.Values{"channel": {channel}, "value": {v.String()}}) {
			node = s.any(random)
		}
		wait(ctx, s.config.Pause)
	}
}

// sendMine sends to the private channels of all tabs, one after the other, at the
// node of each.
func (s *Storm) sendMine(ctx context.Context) {
	for n := 1; ctx.Err() == nil; n++ {
		for i, tb := range s.tabs {
			token, node := tb.Process()
			channel, v := mine(i), ledger.Value{Sender: "m", Number: n}
			s.ledger.Try(channel, v)
			s.post(node, "/mine", channel, v, url.Values{"process": {token}, "value": {v.String()}})
		}
		wait(ctx, s.config.Pause)
	}
}

// mine names the private channel of tab i in the ledger.
func mine(i int) string { return fmt.Sprint("mine of ", i) }

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// post sends a value, notes what became of it, and reports whether it was acknowledged.
func (s *Storm) post(node, path, channel string, v ledger.Value, form url.Values) bool {
	resp, err := s.client.PostForm("http://"+node+path, form)
	outcome := "no answer"
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		outcome = resp.Status
	}
	acked := err == nil && resp.StatusCode == http.StatusNoContent
	if acked {
		s.ledger.Ack(channel, v)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes[outcome]++
	if acked && path == "/publish" {
		s.gap, s.acked = max(s.gap, time.Since(s.acked)), time.Now()
	}
	return acked
}

// Acked waits until n more values were acknowledged.
func (s *Storm) Acked(n int) {
	s.t.Helper()
	count := func() (sum int) {
		for _, c := range s.config.Channels {
			sum += s.ledger.Acked(c)
		}
		return sum
	}
	for before, deadline := count(), time.Now().Add(patience); count() < before+n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%d of %d values acknowledged in %v; answers: %v", count()-before, n, patience, s.Outcomes())
		}
	}
}

// Outcomes counts what sends were answered.
func (s *Storm) Outcomes() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int{}
	for outcome, n := range s.outcomes {
		counts[outcome] = n
	}
	return counts
}

// Tabs are the tabs, for a test's own questions.
func (s *Storm) Tabs() []*tab.Tab { return s.tabs }

// Judge ends the sending, waits until every tab has heard the last of every channel of
// its own, and fails the test for everything that was lost without a word, doubled or
// out of order.
func (s *Storm) Judge() {
	s.t.Helper()
	s.hush()
	s.sending.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i, tb := range s.tabs {
		_ = tb.Until(ctx, func() bool { return s.complete(i) }) // Check tells what is missing
	}
	s.end()
	for i, tb := range s.tabs {
		if err := tb.Faults(); err != nil {
			s.t.Errorf("tab %d: %v", i, err)
		}
		for _, c := range s.hears[i] {
			if err := s.ledger.Check(c, tb.Heard(c)); err != nil {
				s.t.Errorf("tab %d, channel %s: %v\nheard: %s", i, c, err, tell(tb.Heard(c)))
			}
		}
		if s.config.Mine {
			if err := s.ledger.Check(mine(i), tb.Heard("mine")); err != nil {
				s.t.Errorf("tab %d, its private channel: %v\nheard: %s", i, err, tell(tb.Heard("mine")))
			}
		}
	}
	s.agree()
	s.t.Log(s.summary())
}

func (s *Storm) complete(i int) bool {
	tb := s.tabs[i]
	done := func(channel, as string) bool {
		for k := range max(s.config.Senders, 1) {
			if v, ok := s.ledger.Last(as, fmt.Sprint("s", k)); ok && !tb.Has(channel, v) {
				return false
			}
		}
		v, ok := s.ledger.Last(as, "m")
		return !ok || tb.Has(channel, v)
	}
	for _, c := range s.hears[i] {
		if !done(c, c) {
			return false
		}
	}
	return !s.config.Mine || done("mine", mine(i))
}

// agree demands one order of all readers of a channel.
func (s *Storm) agree() {
	s.t.Helper()
	first := map[string]*tab.Tab{}
	for i, tb := range s.tabs {
		for _, c := range s.hears[i] {
			if first[c] == nil {
				first[c] = tb
				continue
			}
			if err := ledger.Agree(first[c].Heard(c), tb.Heard(c)); err != nil {
				s.t.Errorf("tab %d, channel %s: %v", i, c, err)
			}
		}
	}
}

// summary is what the docs quote.
func (s *Storm) summary() string {
	acked, values, streams, gone := 0, 0, 0, 0
	holes := map[string]int{}
	for _, c := range s.config.Channels {
		acked += s.ledger.Acked(c)
	}
	for i, tb := range s.tabs {
		streams += tb.Opened()
		gone += tb.Gone()
		for _, c := range append([]string{"mine"}, s.hears[i]...) {
			for _, h := range tb.Heard(c) {
				if h.Hole != "" {
					holes[h.Hole]++
				} else {
					values++
				}
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d values acknowledged (answers %v, longest gap %v), %d heard by %d tabs on %d event streams, %d gone, holes told %v",
		acked, s.outcomes, s.gap.Round(time.Millisecond), values, len(s.tabs), streams, gone, holes)
}

func (s *Storm) end() {
	s.hush()
	s.leave()
	s.sending.Wait()
	s.listening.Wait()
	s.client.CloseIdleConnections()
}

// tell shows the end of what was heard.
func tell(heard []ledger.Heard) string {
	var words []string
	for _, h := range heard[max(0, len(heard)-60):] {
		if h.Hole != "" {
			words = append(words, "("+h.Hole+")")
		} else {
			words = append(words, h.Value.String())
		}
	}
	return strings.Join(words, " ")
}
