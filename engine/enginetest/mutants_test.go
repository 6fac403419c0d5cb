package enginetest_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest"
	"github.com/ocsigo/comet/engine/memory"
)

// mutant is the memory engine with one promise broken.
type mutant struct {
	engine.Engine
	ensure  func(n engine.Name, s engine.Spec) (engine.Info, error)
	append  func(ctx context.Context, n engine.Name, items []engine.Item) ([]engine.Position, error)
	read    func(n engine.Name, after engine.Position, max int) (engine.Batch, error)
	last    func(n engine.Name, k int) (engine.Batch, error)
	tails   func(ctx context.Context, names []engine.Name) ([]engine.Position, error)
	watch   func(ctx context.Context, n engine.Name, sink engine.Sink) (func(), error)
	delete  func(n engine.Name) error
	close   func()
	name    func(engine.Name) engine.Name
	context func(context.Context) context.Context
}

func (m *mutant) in(ctx context.Context, n engine.Name) (context.Context, engine.Name) {
	if m.context != nil {
		ctx = m.context(ctx)
	}
	if m.name != nil {
		n = m.name(n)
	}
	return ctx, n
}

func (m *mutant) Ensure(ctx context.Context, n engine.Name, s engine.Spec) (engine.Info, error) {
	ctx, n = m.in(ctx, n)
	if m.ensure != nil && ctx.Err() == nil {
		return m.ensure(n, s)
	}
	return m.Engine.Ensure(ctx, n, s)
}

func (m *mutant) Append(ctx context.Context, n engine.Name, items ...engine.Item) ([]engine.Position, error) {
	ctx, n = m.in(ctx, n)
	if m.append != nil {
		return m.append(ctx, n, items)
	}
	return m.Engine.Append(ctx, n, items...)
}

func (m *mutant) Read(ctx context.Context, n engine.Name, after engine.Position, max int) (engine.Batch, error) {
	ctx, n = m.in(ctx, n)
	if m.read != nil && ctx.Err() == nil {
		return m.read(n, after, max)
	}
	return m.Engine.Read(ctx, n, after, max)
}

func (m *mutant) Last(ctx context.Context, n engine.Name, k int) (engine.Batch, error) {
	ctx, n = m.in(ctx, n)
	if m.last != nil && ctx.Err() == nil {
		return m.last(n, k)
	}
	return m.Engine.Last(ctx, n, k)
}

func (m *mutant) Tail(ctx context.Context, n engine.Name) (engine.Position, error) {
	ctx, n = m.in(ctx, n)
	return m.Engine.Tail(ctx, n)
}

func (m *mutant) Tails(ctx context.Context, names []engine.Name) ([]engine.Position, error) {
	named := slices.Clone(names)
	for i := range named {
		ctx, named[i] = m.in(ctx, names[i])
	}
	if m.tails != nil {
		return m.tails(ctx, named)
	}
	return m.Engine.Tails(ctx, named)
}

func (m *mutant) Watch(ctx context.Context, n engine.Name, sink engine.Sink) (func(), error) {
	ctx, n = m.in(ctx, n)
	if m.watch != nil {
		return m.watch(ctx, n, sink)
	}
	return m.Engine.Watch(ctx, n, sink)
}

func (m *mutant) Delete(ctx context.Context, n engine.Name) error {
	ctx, n = m.in(ctx, n)
	if m.delete != nil && ctx.Err() == nil {
		return m.delete(n)
	}
	return m.Engine.Delete(ctx, n)
}

func (m *mutant) Close(ctx context.Context) error {
	if m.close != nil {
		m.close()
	}
	return m.Engine.Close(ctx)
}

// sink changes what an inner sink hears.
type sink struct {
	engine.Sink
	offer func(engine.Entry)
	dirty func(error)
}

func (s sink) Offer(e engine.Entry) {
	if s.offer != nil {
		s.offer(e)
		return
	}
	s.Sink.Offer(e)
}

func (s sink) Dirty(cause error) {
	if s.dirty != nil {
		s.dirty(cause)
		return
	}
	s.Sink.Dirty(cause)
}

var ctx = context.Background()

// breaks says what each mutant gets wrong, and which case must tell.
var breaks = []struct {
	name, caughtBy string
	mutate         func(m *mutant)
}{
	{"hole in a read", "order", func(m *mutant) {
		m.read = func(n engine.Name, after engine.Position, max int) (engine.Batch, error) {
			b, err := m.Engine.Read(ctx, n, after, max)
			if len(b.Entries) > 2 {
				b.Entries = append(slices.Clone(b.Entries[:1]), b.Entries[2:]...)
			}
			return b, err
		}
	}},
	{"appends out of order", "concurrent", func(m *mutant) {
		var mu sync.Mutex
		var held []engine.Item
		m.append = func(ctx context.Context, n engine.Name, items []engine.Item) ([]engine.Position, error) {
			mu.Lock()
			defer mu.Unlock()
			if len(items) == 1 && items[0].ID != "" && len(held) == 0 {
				held = []engine.Item{{ID: items[0].ID, Data: slices.Clone(items[0].Data)}}
				tail, err := m.Engine.Tail(ctx, n)
				return []engine.Position{tail}, err
			}
			p, err := m.Engine.Append(ctx, n, append(slices.Clone(items), held...)...)
			held = nil
			return p[:min(len(p), len(items))], err
		}
	}},
	{"batch reversed", "batch", func(m *mutant) {
		m.append = func(ctx context.Context, n engine.Name, items []engine.Item) ([]engine.Position, error) {
			items = slices.Clone(items)
			slices.Reverse(items)
			return m.Engine.Append(ctx, n, items...)
		}
	}},
	{"IDs ignored", "idempotent", func(m *mutant) {
		m.append = func(ctx context.Context, n engine.Name, items []engine.Item) ([]engine.Position, error) {
			items = slices.Clone(items)
			for i := range items {
				items[i].ID = ""
			}
			return m.Engine.Append(ctx, n, items...)
		}
	}},
	{"an unknown outcome forgets the ID", "repeated", func(m *mutant) {
		calls := 0
		m.append = func(ctx context.Context, n engine.Name, items []engine.Item) ([]engine.Position, error) {
			if calls++; calls%7 > 0 || len(items) != 1 || items[0].ID == "" || ctx.Err() != nil {
				return m.Engine.Append(ctx, n, items...)
			}
			if _, err := m.Engine.Append(ctx, n, engine.Item{Data: items[0].Data}); err != nil {
				return nil, err
			}
			return nil, engine.ErrUnknown
		}
	}},
	{"More forgotten", "paging", func(m *mutant) {
		m.read = func(n engine.Name, after engine.Position, max int) (engine.Batch, error) {
			b, err := m.Engine.Read(ctx, n, after, max)
			b.More = false
			return b, err
		}
	}},
	{"one entry more than Size", "size", func(m *mutant) {
		m.ensure = func(n engine.Name, s engine.Spec) (engine.Info, error) {
			size := s.Size
			if size > 0 && !s.Newest {
				s.Size++
			}
			info, err := m.Engine.Ensure(ctx, n, s)
			if size > 0 {
				info.Spec.Size--
			}
			return info, err
		}
	}},
	{"MaxBytes not exact", "bytes", func(m *mutant) {
		m.ensure = func(n engine.Name, s engine.Spec) (engine.Info, error) {
			given := s.MaxBytes
			if given > 0 {
				s.MaxBytes += 3
			}
			info, err := m.Engine.Ensure(ctx, n, s)
			if given > 0 {
				info.Spec.MaxBytes -= 3
			}
			return info, err
		}
	}},
	{"trimmed from the genesis unnoticed", "empty", func(m *mutant) {
		m.read = func(n engine.Name, after engine.Position, max int) (engine.Batch, error) {
			b, err := m.Engine.Read(ctx, n, after, max)
			if errors.Is(err, engine.ErrTrimmed) {
				return m.Engine.Last(ctx, n, 1<<30)
			}
			return b, err
		}
	}},
	{"other channels trim", "neighbours", func(m *mutant) {
		var mu sync.Mutex
		appends, first := 0, map[engine.Name]int{}
		m.append = func(ctx context.Context, n engine.Name, items []engine.Item) ([]engine.Position, error) {
			mu.Lock()
			appends++
			first[n] = appends
			mu.Unlock()
			return m.Engine.Append(ctx, n, items...)
		}
		m.read = func(n engine.Name, after engine.Position, max int) (engine.Batch, error) {
			mu.Lock()
			defer mu.Unlock()
			if first[n] > 0 && appends-first[n] > 200 {
				return engine.Batch{}, engine.ErrTrimmed
			}
			return m.Engine.Read(ctx, n, after, max)
		}
	}},
	{"beyond the tail is waited for", "foreign", func(m *mutant) { // as in Eliom
		m.read = func(n engine.Name, after engine.Position, max int) (engine.Batch, error) {
			b, err := m.Engine.Read(ctx, n, after, max)
			if tail, _ := m.Engine.Tail(ctx, n); after.Epoch == tail.Epoch && after.Seq > tail.Seq {
				return engine.Batch{Top: tail}, nil
			}
			return b, err
		}
	}},
	{"a new life goes on from the old", "delete", func(m *mutant) {
		m.delete = func(n engine.Name) error { return nil }
	}},
	{"newest trimmed", "newest", func(m *mutant) {
		m.ensure = func(n engine.Name, s engine.Spec) (engine.Info, error) {
			if s.Newest {
				s = engine.Spec{Size: 1, MaxBytes: s.MaxBytes}
			}
			return m.Engine.Ensure(ctx, n, s)
		}
	}},
	{"Last one short", "last", func(m *mutant) {
		m.last = func(n engine.Name, k int) (engine.Batch, error) { return m.Engine.Last(ctx, n, k-1) }
	}},
	{"prefix ignored", "prefix", func(m *mutant) {
		m.name = func(n engine.Name) engine.Name { n.Prefix = "same"; return n }
	}},
	{"who asks makes", "external", func(m *mutant) {
		m.watch = func(ctx context.Context, n engine.Name, s engine.Sink) (func(), error) {
			if _, err := m.Engine.Tail(ctx, n); errors.Is(err, engine.ErrNoChannel) {
				if _, err := m.Engine.Ensure(ctx, n, engine.Spec{}); err != nil {
					return nil, err
				}
			}
			return m.Engine.Watch(ctx, n, s)
		}
	}},
	{"conflict ignored", "ensure", func(m *mutant) {
		m.ensure = func(n engine.Name, s engine.Spec) (engine.Info, error) {
			info, err := m.Engine.Ensure(ctx, n, s)
			if errors.Is(err, engine.ErrSpecConflict) {
				err = nil
			}
			return info, err
		}
	}},
	{"missing are left out", "tails", func(m *mutant) {
		m.tails = func(ctx context.Context, names []engine.Name) ([]engine.Position, error) {
			tails, err := m.Engine.Tails(ctx, names)
			return slices.DeleteFunc(tails, engine.Position.IsZero), err
		}
	}},
	{"missing is made", "nochannel", func(m *mutant) {
		m.append = func(ctx context.Context, n engine.Name, items []engine.Item) ([]engine.Position, error) {
			p, err := m.Engine.Append(ctx, n, items...)
			if errors.Is(err, engine.ErrNoChannel) {
				if _, err = m.Engine.Ensure(ctx, n, engine.Spec{}); err == nil {
					return m.Engine.Append(ctx, n, items...)
				}
			}
			return p, err
		}
	}},
	{"first offer lost", "watch", func(m *mutant) {
		m.watch = func(ctx context.Context, n engine.Name, s engine.Sink) (func(), error) {
			offers := 0
			return m.Engine.Watch(ctx, n, sink{Sink: s, offer: func(e engine.Entry) {
				if offers++; offers > 1 {
					s.Offer(e)
				}
			}})
		}
	}},
	{"one interest in 211 is late", "race", func(m *mutant) {
		watches := 0
		m.watch = func(ctx context.Context, n engine.Name, s engine.Sink) (func(), error) {
			watches++
			late := watches%211 == 0
			return m.Engine.Watch(ctx, n, sink{Sink: s, offer: func(e engine.Entry) {
				if !late {
					s.Offer(e)
				}
				late = false
			}})
		}
	}},
	{"stop does not", "stop", func(m *mutant) {
		m.watch = func(ctx context.Context, n engine.Name, s engine.Sink) (func(), error) {
			_, err := m.Engine.Watch(ctx, n, s)
			return func() {}, err
		}
	}},
	{"one watcher at a time", "slowsink", func(m *mutant) {
		var mu sync.Mutex
		old := map[engine.Name]func(){}
		m.watch = func(ctx context.Context, n engine.Name, s engine.Sink) (func(), error) {
			mu.Lock()
			defer mu.Unlock()
			if stop := old[n]; stop != nil {
				stop()
			}
			stop, err := m.Engine.Watch(ctx, n, s)
			old[n] = stop
			return stop, err
		}
	}},
	{"context ignored", "context", func(m *mutant) { m.context = context.WithoutCancel }},
	{"who gave up is waited for", "cancel", func(m *mutant) {
		m.tails = func(ctx context.Context, names []engine.Name) ([]engine.Position, error) {
			time.Sleep(time.Minute)
			return m.Engine.Tails(context.WithoutCancel(ctx), names)
		}
	}},
	{"a call leaves goroutines", "cancel", func(m *mutant) {
		const each = 5 // NumGoroutine is wrong by dozens for moments, and the short rounds append 20 times
		var left sync.WaitGroup
		var mu sync.Mutex
		closed, end := false, make(chan struct{})
		m.append = func(ctx context.Context, n engine.Name, items []engine.Item) ([]engine.Position, error) {
			mu.Lock()
			if !closed { // appends may come while it is closed
				for range each {
					left.Go(func() { <-end })
				}
			}
			mu.Unlock()
			return m.Engine.Append(ctx, n, items...)
		}
		m.close = sync.OnceFunc(func() {
			mu.Lock()
			closed = true
			mu.Unlock()
			close(end)
			left.Wait()
		})
	}},
	{"too large is cut", "limits", func(m *mutant) {
		m.append = func(ctx context.Context, n engine.Name, items []engine.Item) ([]engine.Position, error) {
			items = slices.Clone(items)
			for i := range items {
				items[i].Data = items[i].Data[:min(len(items[i].Data), m.Caps().MaxEntry)]
			}
			return m.Engine.Append(ctx, n, items...)
		}
	}},
	{"case folded", "names", func(m *mutant) {
		m.name = func(n engine.Name) engine.Name { n.Channel = strings.ToLower(n.Channel); return n }
	}},
	{"IdleTTL ignored", "idle", func(m *mutant) {
		m.ensure = func(n engine.Name, s engine.Spec) (engine.Info, error) {
			ttl := s.IdleTTL
			if ttl > 0 {
				s.IdleTTL = 24 * time.Hour
			}
			info, err := m.Engine.Ensure(ctx, n, s)
			info.Spec.IdleTTL = ttl
			return info, err
		}
	}},
	{"Close told to nobody", "close", func(m *mutant) {
		m.watch = func(ctx context.Context, n engine.Name, s engine.Sink) (func(), error) {
			return m.Engine.Watch(ctx, n, sink{Sink: s, dirty: func(cause error) {
				if !errors.Is(cause, engine.ErrClosed) {
					s.Dirty(cause)
				}
			}})
		}
	}},
	{"caller's buffer kept", "buffers", func(m *mutant) {
		var mu sync.Mutex
		data := map[engine.Position][]byte{}
		m.append = func(ctx context.Context, n engine.Name, items []engine.Item) ([]engine.Position, error) {
			p, err := m.Engine.Append(ctx, n, items...)
			mu.Lock()
			defer mu.Unlock()
			for i := range p {
				data[p[i]] = items[i].Data
			}
			return p, err
		}
		m.read = func(n engine.Name, after engine.Position, max int) (engine.Batch, error) {
			b, err := m.Engine.Read(ctx, n, after, max)
			mu.Lock()
			defer mu.Unlock()
			for i, e := range b.Entries {
				if d, ok := data[e.Position]; ok {
					b.Entries[i].Data = d
				}
			}
			return b, err
		}
	}},
	{"empty entries lost after the third", "model", func(m *mutant) {
		m.read = func(n engine.Name, after engine.Position, max int) (engine.Batch, error) {
			b, err := m.Engine.Read(ctx, n, after, max)
			if i := slices.IndexFunc(b.Entries, func(e engine.Entry) bool { return len(e.Data) == 0 }); i > 3 {
				b.Entries = slices.Delete(b.Entries, i, i+1)
			}
			return b, err
		}
	}},
}

// TestMutant is the child of TestEveryCaseCatchesItsMutant, and fails by design.
func TestMutant(t *testing.T) {
	if os.Getenv("COMET_MUTANTS") == "" {
		t.Skip("runs in a child process of TestEveryCaseCatchesItsMutant only")
	}
	if err := flag.Set("test.short", "true"); err != nil { // a watch that does not stop makes many rounds long ones
		t.Fatal(err)
	}
	for _, b := range breaks {
		t.Run(b.name, func(t *testing.T) {
			enginetest.RunInBubble(t, func(t *testing.T) enginetest.Cluster {
				m := &mutant{Engine: memory.New()}
				b.mutate(m)
				return enginetest.Cluster{Handles: []engine.Engine{m}}
			})
		})
	}
}

// A case that no broken engine can fail proves nothing: each has one that it must
// catch, and the explanation is printed.
func TestEveryCaseCatchesItsMutant(t *testing.T) {
	caughtBy := map[string]string{}
	for _, b := range breaks {
		caughtBy[b.name] = b.caughtBy
	}
	catch(t, "TestMutant", caughtBy)
}

// catch runs the test that runs the kit against mutants, in a process of its own.
func catch(t *testing.T, test string, caughtBy map[string]string) {
	if testing.Short() {
		t.Skip("runs the kit against every mutant")
	}
	child := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v", "-test.timeout=2m")
	child.Env = append(os.Environ(), "COMET_MUTANTS=1", "COMET_SEED=1")
	out, _ := child.CombinedOutput()
	failed := map[string][]string{} // by mutant
	for _, m := range regexp.MustCompile(`--- FAIL: `+test+`/([^/\s]+)/(\S+)`).FindAllStringSubmatch(string(out), -1) {
		name := strings.ReplaceAll(m[1], "_", " ")
		failed[name] = append(failed[name], m[2])
	}
	for name, by := range caughtBy {
		t.Logf("%s: fails %v", name, failed[name])
		if !slices.Contains(failed[name], by) {
			t.Errorf("%s: not caught by the case %s", name, by)
		}
	}
	if got := strings.Count(string(out), "why this case exists"); got < len(caughtBy) {
		t.Errorf("%d explanations for %d mutants", got, len(caughtBy))
	}
	if strings.Contains(string(out), "panic:") {
		t.Errorf("a mutant made the kit panic:\n%.4000s", out[strings.Index(string(out), "panic:"):])
	}
}
