package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/sse"
)

// patience bounds what is waited for. Nothing here takes that long; only what never happens does.
const patience = time.Minute

// frontVariable makes of the test's program a front.
const frontVariable = "COMET_CLUSTER_TEST_FRONT"

func TestMain(m *testing.M) {
	if config, ok := os.LookupEnv(nodeVariable); ok {
		if err := runNode(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(frontVariable) != "" {
		fmt.Fprintln(os.Stderr, run("127.0.0.1:0", patience))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// serve runs a cluster and its front, and returns when all three nodes are ready.
func serve(t *testing.T) (*cluster, string) {
	t.Helper()
	c, err := startCluster(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	front := httptest.NewServer(newFront(c))
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	c.wait(t, "three nodes are ready", func(states []NodeState) bool {
		return !slices.ContainsFunc(states, func(s NodeState) bool { return s.State != ready })
	})
	return c, front.URL
}

func (c *cluster) wait(t *testing.T, what string, condition func([]NodeState) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		states, changed := c.states()
		if condition(states) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("never happened: %s; the nodes are %+v", what, states)
		}
	}
}

// A tab is a page without a browser: it hears as an EventSource does, and sends as comet-send.js does.
type tab struct {
	t      *testing.T
	client *http.Client
	base   string
	opening

	mu      sync.Mutex
	changed chan struct{}
	chat    []string
	nodes   []string // that its event streams came from
	clock   Clock
	gone    bool
}

var begins = regexp.MustCompile(`(?m)^const opening = (\{.*\});$`)

// open makes a page on one node whose event stream comes from another.
func open(t *testing.T, base, owner, stream string) *tab {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	tab := &tab{t: t, client: &http.Client{Jar: jar, Transport: transport}, base: base, changed: make(chan struct{})}
	answer, err := tab.client.Get(base + "/?node=" + owner)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	found := begins.FindSubmatch(body)
	if err != nil || found == nil {
		t.Fatalf("a page on node %s: %s %v: %s", owner, answer.Status, err, body)
	}
	if err := json.Unmarshal(found[1], &tab.opening); err != nil || tab.Node != owner {
		t.Fatalf("a page on node %s begins with %s: %v", owner, found[1], err)
	}
	tab.Stream = strings.Replace(tab.Stream, "node="+owner, "node="+stream, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { tab.hear(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	tab.wait("its event stream is open", func() bool { return len(tab.nodes) > 0 })
	return tab
}

// hear opens one event stream after the other, each where the last one ended.
func (tab *tab) hear(ctx context.Context) {
	for last := ""; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, tab.base+tab.Stream, nil)
		if err != nil {
			tab.t.Error(err)
			return
		}
		if last != "" {
			request.Header.Set("Last-Event-ID", last)
		}
		answer, err := tab.client.Do(request)
		if err != nil {
			continue
		}
		if answer.StatusCode == http.StatusOK {
			for event, err := range sse.Read(answer.Body) {
				if err != nil {
					break
				}
				if event.ID != "" {
					last = event.ID
				}
				tab.take(event)
			}
		}
		answer.Body.Close()
	}
}

func (tab *tab) take(event sse.Event) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	switch event.Name {
	case "chat":
		var message Message
		if err := json.Unmarshal(event.Data, &message); err != nil {
			tab.t.Errorf("chat %q: %v", event.Data, err)
		}
		tab.chat = append(tab.chat, message.Text)
	case "clock":
		if err := json.Unmarshal(event.Data, &tab.clock); err != nil {
			tab.t.Errorf("clock %q: %v", event.Data, err)
		}
	case "node":
		tab.nodes = append(tab.nodes, string(bytes.TrimSpace(event.Data)))
	case "comet:gone":
		tab.gone = true
	case "comet:full", "comet:closed":
		if !strings.Contains(string(event.Data), "clock") {
			tab.t.Errorf("the tab hears %s %s", event.Name, event.Data)
		}
	}
	close(tab.changed)
	tab.changed = make(chan struct{})
}

func (tab *tab) wait(what string, condition func() bool) {
	tab.t.Helper()
	deadline := time.After(patience)
	for {
		tab.mu.Lock()
		holds, changed := condition(), tab.changed
		state := fmt.Sprintf("%d messages, nodes %q, %+v, gone %v", len(tab.chat), tab.nodes, tab.clock, tab.gone)
		tab.mu.Unlock()
		if holds {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			tab.t.Fatalf("never happened: %s; the tab has %s", what, state)
		}
	}
}

// say sends message n and repeats that under its number until it is taken.
func (tab *tab) say(n int) {
	tab.t.Helper()
	value, err := json.Marshal(Draft{ID: fmt.Sprint("id", n), Text: fmt.Sprint("message ", n)})
	if err != nil {
		tab.t.Fatal(err)
	}
	form := url.Values{"send": {"chat"}, "n": {fmt.Sprint(n)}, "value": {string(value)}}
	var last string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		answer, err := tab.client.PostForm(tab.base+tab.Stream, form)
		if err != nil {
			last = err.Error()
			continue
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return
		}
		last = answer.Status + " " + string(body)
		if answer.StatusCode < 500 && answer.StatusCode != http.StatusTooManyRequests {
			break
		}
	}
	tab.t.Fatalf("message %d is not taken: %s", n, last)
}

// Two tabs hear while a node ends, one by an event stream of that node and one with its client process there; a third, on
// another node, goes on talking. Nothing is lost or doubled, and who lost his process is told.
func TestNodeEnds(t *testing.T) {
	for name, end := range map[string]func(*cluster, string) error{"killed": (*cluster).kill, "drained": (*cluster).drain} {
		t.Run(name, func(t *testing.T) {
			const messages = 60
			c, base := serve(t)
			relayed, owned := open(t, base, "c", "a"), open(t, base, "a", "b")
			talker := open(t, base, "c", "c")
			owned.wait("its clock is heard through another node", func() bool {
				return owned.clock == Clock{Node: "a", Seconds: owned.clock.Seconds} && owned.clock.Seconds > 0
			})
			if silent, err := net.Dial("tcp", c.nodes[0].config.Addr); err != nil { // as the front's are that it dialled and did not need
				t.Fatal(err)
			} else {
				defer silent.Close()
			}
			for n := 1; n <= messages; n++ {
				if n == messages/3 {
					if err := end(c, "a"); err != nil {
						t.Fatal(err)
					}
				}
				talker.say(n)
			}
			var want []string
			for n := 1; n <= messages; n++ {
				want = append(want, fmt.Sprint("message ", n))
			}
			for _, tab := range []*tab{relayed, owned, talker} {
				tab.wait("all messages are heard", func() bool { return len(tab.chat) >= messages })
				if tab.mu.Lock(); !slices.Equal(tab.chat, want) {
					t.Errorf("a tab heard %q, want each message once, in order", tab.chat)
				}
				tab.mu.Unlock()
			}
			owned.wait("who had his client process there is told", func() bool { return owned.gone })
			relayed.wait("another node goes on", func() bool { return len(relayed.nodes) > 1 && relayed.nodes[len(relayed.nodes)-1] != "a" })
			c.wait(t, "the node is started again", func(states []NodeState) bool {
				return states[0].State == ready && states[0].Starts == 2
			})
			states, _ := c.states()
			if drained := states[0].Ended == "shut down"; drained != (name == "drained") {
				t.Errorf("the node is said to have ended by %q", states[0].Ended)
			}
			for _, tab := range []*tab{relayed, talker} {
				if tab.mu.Lock(); tab.gone {
					t.Error("a tab whose client process is on a living node hears gone")
				}
				tab.mu.Unlock()
			}
			talker.say(messages + 1)
			relayed.wait("the last message is heard", func() bool { return slices.Contains(relayed.chat, fmt.Sprint("message ", messages+1)) })
		})
	}
}

// What is not a node's name, and a node that does not run, is refused in words.
func TestCommandsAreRefused(t *testing.T) {
	c := &cluster{nodes: []*node{{config: nodeConfig{Name: "a"}}}}
	front := httptest.NewServer(newFront(c))
	defer front.Close()
	for name, want := range map[string]string{"": "they are a, b and c", "z": "they are a, b and c", "a": "does not run"} {
		answer, err := http.PostForm(front.URL+"/cluster/kill", url.Values{"node": {name}})
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusConflict || !strings.Contains(string(body), want) {
			t.Errorf("kill %q: %s %q, want 409 and %q", name, answer.Status, body, want)
		}
	}
	request, _ := http.NewRequest(http.MethodPost, front.URL+"/cluster/kill?node=a", nil)
	request.Header.Set("Origin", "https://elsewhere.example")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another origin kills a node: %s", answer.Status)
	}
}

// A page that cannot be made just now, or that no node answers for, is loaded again by the browser itself.
func TestPageComesBack(t *testing.T) {
	site := comet.NewSite()
	t.Cleanup(func() { site.Shutdown(context.Background()) })
	room, err := newRoom(site, "a")
	if err != nil {
		t.Fatal(err)
	}
	app := room.app(comet.Config{Site: site})
	app.Get("/elects", func(*fiber.Ctx) error { return fiber.NewError(http.StatusServiceUnavailable, "no leader") })
	answer, err := app.Test(httptest.NewRequest("GET", "/elects", nil))
	if err != nil {
		t.Fatal(err)
	}
	if again := answer.Header.Get("Refresh"); answer.StatusCode != http.StatusServiceUnavailable || again == "" {
		t.Errorf("a node answers %d, Refresh: %q", answer.StatusCode, again)
	}
	if answer, err = app.Test(httptest.NewRequest("GET", "/", nil)); err != nil {
		t.Fatal(err)
	}
	if again := answer.Header.Get("Refresh"); answer.StatusCode != http.StatusOK || again != "" {
		t.Errorf("the page has status %d, Refresh: %q", answer.StatusCode, again)
	}
	for _, cause := range []error{errNoNode, io.ErrUnexpectedEOF} {
		front := httptest.NewRecorder()
		unavailable(front, httptest.NewRequest("GET", "/", nil), cause)
		if front.Code < 500 || front.Header().Get("Refresh") == "" {
			t.Errorf("%v: the front answers %d, Refresh: %q", cause, front.Code, front.Header().Get("Refresh"))
		}
	}
}

// Ready nodes come first, the wanted one before all others, then who has least to do; who is down is not asked.
func TestChoose(t *testing.T) {
	at := func(name string, state status, streams int) *node {
		return &node{config: nodeConfig{Name: name}, state: NodeState{Name: name, State: state}, streams: streams}
	}
	for _, test := range []struct {
		wanted string
		nodes  []*node
		want   string
	}{
		{"", []*node{at("a", ready, 2), at("b", ready, 1), at("c", ready, 3)}, "bac"},
		{"c", []*node{at("a", ready, 2), at("b", ready, 1), at("c", ready, 3)}, "cba"},
		{"c", []*node{at("a", waiting, 0), at("b", ready, 1), at("c", down, 0)}, "ba"},
		{"c", []*node{at("a", ready, 0), at("b", starting, 1), at("c", waiting, 0)}, "ac"},
		{"b", []*node{at("a", down, 0), at("b", draining, 1), at("c", down, 0)}, ""},
	} {
		got := ""
		for _, n := range (&cluster{nodes: test.nodes}).choose(test.wanted) {
			got += n.config.Name
		}
		if got != test.want {
			t.Errorf("wanted %q: %q, want %q", test.wanted, got, test.want)
		}
	}
}

// A front that is killed takes its nodes along, and they the files, also of one that does not run.
func TestFrontIsKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	front := exec.Command(self)
	front.Env = append(os.Environ(), frontVariable+"=1", "TMPDIR="+dir)
	front.Stderr = os.Stderr
	out, err := front.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := front.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	base := regexp.MustCompile(`http://[0-9.:]+`).FindString(line)
	answer, err := http.Get(base) // by a node, which has files then
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer, err = http.Post(base+"/cluster/kill?node=a", "", nil); err != nil || answer.StatusCode != http.StatusNoContent {
		t.Fatalf("kill a node: %v, %v", answer, err)
	}
	answer.Body.Close()
	events, err := http.Get(base + "/cluster/events")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	for event, err := range sse.Read(events.Body) {
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(event.Data, []byte(string(down))) {
			break
		}
	}
	if err := front.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = front.Wait()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("files are left: %v", left)
		}
	}
}
