package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/gofiber/fiber/v2"
	memstorage "github.com/gofiber/storage/memory/v2"
	redisstorage "github.com/gofiber/storage/redis/v3"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/engine/nats/embedded"
	"github.com/ocsigo/comet/engine/nats/embedded/natstest"
	"github.com/ocsigo/comet/engine/redis"
	"github.com/ocsigo/comet/engine/redis/redistest"
	"github.com/ocsigo/comet/faults/internal/app"
	"github.com/ocsigo/comet/faults/internal/ledger"
	"github.com/ocsigo/comet/faults/internal/proc"
	"github.com/ocsigo/comet/sse"
)

var (
	figures  = flag.Bool("figures", false, "measure the engines side by side, for docs/scaling.md")
	channelN = flag.Int("channels", 10_000, "how many channels the cost of one is taken over")
)

// A bench is an engine under the measure: two handles, and what its servers take of
// memory, in bytes.
type bench struct {
	name    string
	handles []engine.Engine
	storage fiber.Storage
	memory  func() uint64
}

// TestFigures prints the table of docs/scaling.md. It asserts nothing of the time.
func TestFigures(t *testing.T) {
	if !*figures {
		t.Skip("measures for some minutes: go test -run TestFigures -figures -v .")
	}
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "engine\tappends/s, 1\t32 publishers\tread 20 p50/p99\tread 1000 p50/p99\tPOST to event on another node p50/p99\tB a channel (%d)\tmade/s\n", *channelN)
	for _, open := range []func(*testing.T) bench{benchMemory, benchRedis, benchRedisFile, benchNATS, benchNATS3} {
		var line []string
		t.Run("", func(t *testing.T) {
			b := open(t)
			one, many := b.appends(t, 1), b.appends(t, 32)
			short, long := b.reads(t, 20), b.reads(t, 1000)
			end := b.endToEnd(t)
			size, made := b.perChannel(t)
			line = []string{b.name, one, many, short, long, end, size, made}
		})
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	_ = w.Flush()
	t.Logf("256 B, %d processors\n%s", runtime.NumCPU(), out.String())
}

func benchMemory(*testing.T) bench {
	log := memory.New(memory.Config{Nodes: true, MaxIDs: 1 << 24})
	return bench{"memory", []engine.Engine{log, log}, memstorage.New(), func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}}
}

func benchRedis(t *testing.T) bench { return onServer(t, "Redis, memory only") }

func benchRedisFile(t *testing.T) bench {
	return onServer(t, "Redis, AOF everysec", "--appendonly", "yes")
}

func onServer(t *testing.T, name string, args ...string) bench {
	server := redistest.Start(t, args...)
	b := bench{name: name, storage: redisstorage.NewFromConnection(server.Client()), memory: func() uint64 {
		text, err := server.Client().Info(t.Context(), "memory").Result()
		must(t, "INFO memory", err)
		_, text, _ = strings.Cut(text, "used_memory:")
		n, err := strconv.ParseUint(strings.TrimSpace(strings.SplitN(text, "\r", 2)[0]), 10, 64)
		must(t, "used_memory", err)
		return n
	}}
	for range 2 {
		log, err := redis.New(t.Context(), server.Client())
		must(t, "an engine", err)
		t.Cleanup(func() { _ = log.Close(context.Background()) })
		b.handles = append(b.handles, log)
	}
	return b
}

func benchNATS(t *testing.T) bench {
	c := embedded.Config{Dir: t.TempDir(), Listen: natstest.Configs(t, 1)[0].Listen}
	return onNATS(t, "NATS, one server, file", []embedded.Config{c}, 1)
}

func benchNATS3(t *testing.T) bench {
	return onNATS(t, "NATS, three servers, R3, file", natstest.Configs(t, 3), 3)
}

func onNATS(t *testing.T, name string, configs []embedded.Config, replicas int) bench {
	c := startCluster(t, configs, nil)
	b := bench{name: name, memory: func() (sum uint64) {
		for _, p := range c.servers {
			sum += resident(t, p)
		}
		return sum / uint64(len(c.servers))
	}}
	for i := range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		log, err := openReplicas(ctx, c.urls(i), replicas)
		cancel()
		must(t, "an engine", err)
		t.Cleanup(func() { _ = log.Close(context.Background()) })
		b.handles, b.storage = append(b.handles, log), log.Storage("sessions")
	}
	return b
}

// resident is what a process has of memory.
func resident(t *testing.T, p *proc.Process) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.PID()))
	must(t, "statm", err)
	pages, err := strconv.ParseUint(strings.Fields(string(text))[1], 10, 64)
	must(t, "statm", err)
	return pages * uint64(os.Getpagesize())
}

var payload = bytes.Repeat([]byte("x"), 256)

func (b bench) log(t *testing.T, name string) engine.Name {
	n := engine.Name{Prefix: "figures", Channel: name}
	_, err := b.handles[0].Ensure(t.Context(), n, engine.Spec{Size: 1000})
	must(t, "ensure", err)
	return n
}

// appends is how many a second so many publishers get acknowledged, each with an ID as
// Comet's own are.
func (b bench) appends(t *testing.T, publishers int) string {
	n := b.log(t, fmt.Sprint("appends", publishers))
	var done atomic.Int64
	began := time.Now()
	var work sync.WaitGroup
	for p := range publishers {
		work.Go(func() {
			for i := 0; time.Since(began) < 3*time.Second; i++ {
				_, err := b.handles[0].Append(t.Context(), n, engine.Item{ID: fmt.Sprint(p, ".", i), Data: payload})
				if err != nil && !engine.Retryable(err) {
					t.Errorf("append: %v", err)
					return
				}
				if err == nil {
					done.Add(1)
				}
			}
		})
	}
	work.Wait()
	return fmt.Sprintf("%.0f", float64(done.Load())/time.Since(began).Seconds())
}

// reads is the time to read so many entries after a position, on the handle that did
// not write them.
func (b bench) reads(t *testing.T, entries int) string {
	n := b.log(t, fmt.Sprint("reads", entries))
	var after engine.Position
	for i := range 1000 {
		at, err := b.handles[0].Append(t.Context(), n, engine.Item{Data: payload})
		must(t, "append", err)
		if i == 1000-entries-1 {
			after = at[0]
		}
	}
	if entries == 1000 {
		batch, err := b.handles[1].Last(t.Context(), n, 1000)
		must(t, "last", err)
		after = engine.Position{Epoch: batch.Top.Epoch, Seq: batch.Entries[0].Prev, Tag: batch.Entries[0].PrevTag}
	}
	var took []time.Duration
	for range 200 {
		began := time.Now()
		got := 0
		for at, more := after, true; more; {
			batch, err := b.handles[1].Read(t.Context(), n, at, 0)
			must(t, "read", err)
			got += len(batch.Entries)
			at, more = batch.Entries[len(batch.Entries)-1].Position, batch.More
		}
		took = append(took, time.Since(began))
		if got != entries {
			t.Fatalf("%d entries, want %d", got, entries)
		}
	}
	return quantiles(took)
}

func quantiles(took []time.Duration) string {
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
	return fmt.Sprintf("%.2f / %.1f ms", at(.5), at(.99))
}

// endToEnd is the time from a POST to one node to the event in a tab on another, 200 a
// second.
func (b bench) endToEnd(t *testing.T) string {
	var nodes []*app.Node
	for i := range 2 {
		n, err := app.Start(app.Config{Engine: b.handles[i], Storage: b.storage, Prefix: "end", Channels: []string{"c"}, Size: 1000})
		must(t, "a node", err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			must(t, "stop", n.Stop(ctx))
		})
		nodes = append(nodes, n)
	}
	resp, err := http.Get("http://" + nodes[1].Addr + "/page?c=c")
	must(t, "the page", err)
	var page struct{ URL string }
	must(t, "the page", json.NewDecoder(resp.Body).Decode(&page))
	resp.Body.Close()
	stream, err := http.Get("http://" + nodes[1].Addr + page.URL)
	must(t, "the event stream", err)
	defer stream.Body.Close()
	const n = 1000
	var sent [n + 1]time.Time
	var mu sync.Mutex
	took := make(chan []time.Duration)
	go func() { took <- listen(t, stream.Body, &mu, sent[:]) }()
	var posts sync.WaitGroup
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 1; i <= n; i++ {
		<-tick.C
		posts.Go(func() {
			v := ledger.Value{Sender: "s", Number: i}
			mu.Lock()
			sent[i] = time.Now()
			mu.Unlock()
			resp, err := http.PostForm("http://"+nodes[0].Addr+"/publish", url.Values{"channel": {"c"}, "value": {v.String()}})
			if err != nil || resp.StatusCode != http.StatusNoContent {
				t.Errorf("publish: %v %v", resp, err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		})
	}
	posts.Wait()
	defer http.DefaultClient.CloseIdleConnections() // Shutdown waits for them
	return quantiles(<-took)
}

func listen(t *testing.T, body io.Reader, mu *sync.Mutex, sent []time.Time) (took []time.Duration) {
	r := sse.NewReader(body)
	for len(took) < len(sent)-1 {
		e, err := r.Next()
		if err != nil {
			t.Errorf("the event stream: %v", err)
			return took
		}
		var text string
		if e.Name != "c" || json.Unmarshal([]byte(e.Data), &text) != nil {
			continue
		}
		v, err := ledger.Parse(text)
		if err != nil {
			t.Error(err)
			return took
		}
		mu.Lock()
		took = append(took, time.Since(sent[v.Number]))
		mu.Unlock()
	}
	return took
}

// perChannel is what a channel with one entry takes of each server, and how many are
// made in a second.
func (b bench) perChannel(t *testing.T) (size, made string) {
	before, began := b.memory(), time.Now()
	var work sync.WaitGroup
	next := atomic.Int64{}
	for range 64 {
		work.Go(func() {
			for i := next.Add(1); i <= int64(*channelN); i = next.Add(1) {
				n := engine.Name{Prefix: "many", Channel: fmt.Sprint("channel", i)}
				_, err := b.handles[0].Ensure(t.Context(), n, engine.Spec{Size: 1000})
				if err == nil {
					_, err = b.handles[0].Append(t.Context(), n, engine.Item{Data: payload})
				}
				if err != nil {
					t.Errorf("channel %d: %v", i, err)
					return
				}
			}
		})
	}
	work.Wait()
	took := time.Since(began)
	return fmt.Sprint((int64(b.memory()) - int64(before)) / int64(*channelN)), fmt.Sprintf("%.0f", float64(*channelN)/took.Seconds())
}
