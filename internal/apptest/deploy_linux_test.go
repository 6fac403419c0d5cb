package apptest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

// A deployment is what the process of the tabs is told.
type deployment struct {
	Old, Next string // the event stream's URL on either node
	Tabs      int
	Last      int // the channel says 1, 2, 3… up to this
}

// A landing is what it reports when every tab has heard the last value.
type landing struct {
	Returns []int64 // in Unix milliseconds
	Faults  []string
}

const deployEnv = "COMET_TEST_DEPLOY"

// TestDeploy proves rules 1, 2 and 12 over real sockets: a node with 10,000 tabs gives way to another, and they come
// back to that spread over the window asked for; each hears every value once and in order. The tabs are another process:
// no process may have 20,000 descriptors everywhere. Under the race detector, and where descriptors do not suffice,
// they are fewer.
func TestDeploy(t *testing.T) {
	if told := os.Getenv(deployEnv); told != "" {
		beTabs(t, told)
		return
	}
	if testing.Short() {
		t.Skip("takes half a minute and 10,000 connections")
	}
	const window, values, every = 20 * time.Second, 9, 3 * time.Second
	tabs := crowdSize(t)
	engine := memory.New(memory.Config{Nodes: true})
	t.Cleanup(func() {
		if err := engine.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	node := func() (s *server, news *channel.Sender[int]) {
		s = serve(t, comet.SiteConfig{Engine: engine, DrainOver: window}, func(app *fiber.App, site *scope.Site) {
			sender, stream := channel.Push[int]()
			news = sender
			h, err := channel.Create(site, stream, channel.Config{Name: "news"})
			if err != nil {
				t.Fatal(err)
			}
			app.Get("/", func(c *fiber.Ctx) error {
				address, err := comet.Open(c, h)
				if err != nil {
					return err
				}
				return c.SendString(address)
			})
		})
		return s, news
	}
	old, _ := node()
	next, news := node()
	address := old.Browser().Get("/").Want(http.StatusOK).Body
	child := startTabs(t, deployment{Old: old.Origin() + address, Next: next.Origin() + address, Tabs: tabs, Last: values})
	child.expect("ready")

	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- old.site.Shutdown(ctx) }()
	for n := range values {
		if err := news.Send(ctx, n+1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(begin.Add(time.Duration(n+1) * every)))
	}
	if err := <-done; err != nil {
		t.Fatal("Shutdown:", err)
	}
	var landed landing
	if err := json.Unmarshal([]byte(child.expect("{")), &landed); err != nil {
		t.Fatal(err)
	}
	for _, fault := range landed.Faults {
		t.Error(fault)
	}
	if len(landed.Returns) != tabs {
		t.Fatalf("%d of %d tabs came back", len(landed.Returns), tabs)
	}
	var tenths [10]int
	for _, at := range landed.Returns {
		d := time.UnixMilli(at).Sub(begin) - time.Second // Config.Retry
		if d < -50*time.Millisecond || d > window+5*time.Second {
			t.Fatalf("a tab came back %v after it could, the window is %v", d, window)
		}
		tenths[min(9, max(0, int(10*d/window)))]++
	}
	t.Logf("%d tabs, by tenths of %v: %v", tabs, window, tenths)
	for _, n := range tenths {
		if n < tabs/10*6/10 || n > tabs/10*14/10 {
			t.Errorf("of %d tabs came back, by tenths of the window: %v", tabs, tenths)
			break
		}
	}
}

// crowdSize is how many tabs there can be.
func crowdSize(t *testing.T) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	tabs := min(10_000, int(min(limit.Cur, 1<<20))*4/5)
	if raced {
		tabs = min(tabs, 2000)
	}
	if tabs < 10_000 {
		t.Logf("%d tabs, with %d descriptors and the race detector: %v", tabs, limit.Cur, raced)
	}
	return tabs
}

// A crowd is the process of the tabs.
type crowd struct {
	t     *testing.T
	lines *bufio.Reader
}

func startTabs(t *testing.T, d deployment) *crowd {
	told, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestDeploy$", "-test.timeout=5m")
	child.Env = append(os.Environ(), deployEnv+"="+string(told))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill() // it has said all
		_ = child.Wait()
	})
	return &crowd{t, bufio.NewReaderSize(out, 1<<20)}
}

// expect returns the next line, which must begin so.
func (c *crowd) expect(begin string) string {
	c.t.Helper()
	line, err := c.lines.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, begin) {
		c.t.Fatalf("the tabs said %q, %v", line, err)
	}
	return line
}

// beTabs is the process of the tabs.
func beTabs(t *testing.T, told string) {
	var d deployment
	if err := json.Unmarshal([]byte(told), &d); err != nil {
		t.Fatal(err)
	}
	var ready, over sync.WaitGroup
	var mu sync.Mutex
	var landed landing
	opening := make(chan struct{}, 64)
	ready.Add(d.Tabs)
	for range d.Tabs {
		over.Go(func() {
			tab := &tab{d: d, opening: opening, greeted: sync.OnceFunc(ready.Done)}
			err := tab.live()
			tab.greeted()
			mu.Lock()
			defer mu.Unlock()
			if err != nil && len(landed.Faults) < 10 {
				landed.Faults = append(landed.Faults, err.Error())
			}
			if tab.returned > 0 {
				landed.Returns = append(landed.Returns, tab.returned)
			}
		})
	}
	ready.Wait()
	fmt.Println("ready")
	over.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(landed); err != nil {
		t.Fatal(err)
	}
}

// A tab is a page with a plain EventSource.
type tab struct {
	d        deployment
	opening  chan struct{}
	greeted  func()
	heard    int
	returned int64
}

// live is the tab's life: on the old node, told to come back, and on the next one until it has heard the last value.
func (tb *tab) live() error {
	id, retry, err := tb.hear(tb.d.Old, "")
	if err != nil || tb.heard == tb.d.Last {
		return fmt.Errorf("on the old node, after %d values: %v", tb.heard, err)
	}
	time.Sleep(retry)
	tb.returned = time.Now().UnixMilli()
	if _, _, err = tb.hear(tb.d.Next, id); err == nil && tb.heard < tb.d.Last {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("on the next node, after %d values: %w", tb.heard, err)
	}
	return nil
}

// hear is one event stream, until its end or the last value.
func (tb *tab) hear(address, id string) (lastID string, retry time.Duration, err error) {
	conn, body, err := tb.open(address, id)
	if err != nil {
		return "", 0, err
	}
	defer conn.Close()
	r := sse.NewReader(body, sse.ReaderConfig{LastEventID: id})
	for tb.heard < tb.d.Last {
		e, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", 0, err
		}
		switch e.Name {
		case "comet:hello":
			tb.greeted()
		case "comet:hb", "comet:away":
		case "news":
			if tb.heard++; string(e.Data) != strconv.Itoa(tb.heard) {
				return "", 0, fmt.Errorf("heard %s instead of %d", e.Data, tb.heard)
			}
		default:
			return "", 0, fmt.Errorf("heard %s %s", e.Name, e.Data)
		}
	}
	return r.LastEventID(), r.Retry(), nil
}

// open asks for the event stream; not too many do so at once for the listener's backlog.
func (tb *tab) open(address, id string) (net.Conn, io.Reader, error) {
	tb.opening <- struct{}{}
	defer func() { <-tb.opening }()
	req, err := http.NewRequest("GET", address, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if id != "" {
		req.Header.Set("Last-Event-ID", id)
	}
	conn, err := net.Dial("tcp", req.URL.Host)
	if err != nil {
		return nil, nil, err
	}
	if err := req.Write(conn); err != nil {
		conn.Close()
		return nil, nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), req)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		conn.Close()
		return nil, nil, fmt.Errorf("it answered %s", resp.Status)
	}
	return conn, resp.Body, nil
}
