package redis_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/redis"
	"github.com/ocsigo/comet/engine/redis/redistest"
)

var payload = []byte(strings.Repeat("x", 256))

// durabilities are what a server may be told to do before it answers.
var durabilities = []struct {
	name string
	args []string
}{
	{"memory", nil},
	{"everysec", []string{"--appendonly", "yes", "--appendfsync", "everysec"}},
	{"always", []string{"--appendonly", "yes", "--appendfsync", "always"}},
}

func BenchmarkAppend(b *testing.B) {
	for _, d := range durabilities {
		for _, publishers := range []int{1, 32} {
			b.Run(fmt.Sprint(d.name, "/publishers=", publishers), func(b *testing.B) {
				e := open(b, redistest.Start(b, d.args...).Client(pool))
				ensure(b, e, engine.Spec{})
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				for range publishers {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := e.Append(ctx, chat, engine.Item{Data: payload}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		}
	}
}

// What the server and the client do without this package: SET of the same bytes.
func BenchmarkBaseline(b *testing.B) {
	for _, publishers := range []int{1, 32} {
		b.Run(fmt.Sprint("set/publishers=", publishers), func(b *testing.B) {
			client := redistest.Start(b).Client(pool)
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for range publishers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if err := client.Set(ctx, "key", payload, 0).Err(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

// With an ID, which is what makes a repetition harmless, and with a replica that has to
// confirm.
func BenchmarkAppendMore(b *testing.B) {
	b.Run("id", func(b *testing.B) {
		e := open(b, redistest.Start(b).Client(pool), redis.Config{MaxIDs: 1 << 30})
		ensure(b, e, engine.Spec{})
		for i := 0; b.Loop(); i++ {
			must[[]engine.Position](b)(e.Append(ctx, chat, engine.Item{ID: strconv.Itoa(i), Data: payload}))
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	})
	b.Run("wait1", func(b *testing.B) {
		primary := redistest.Start(b)
		redistest.StartReplica(b, primary)
		e := open(b, primary.Client(pool), redis.Config{Replicas: 1})
		ensure(b, e, engine.Spec{})
		for b.Loop() {
			send(b, e, string(payload))
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	})
}

func pool(o *goredis.Options) { o.PoolSize = 64 }

// timing is a sink that notes when its entries were sent.
type timing struct{ heard chan time.Duration }

func (s timing) Offer(e engine.Entry) {
	ns, _ := strconv.ParseInt(strings.TrimSpace(string(e.Data)), 10, 64)
	s.heard <- time.Duration(time.Now().UnixNano() - ns)
}

func (timing) Dirty(error) {}

// From the beginning of Append on one handle to the offer on another, at 200 a second.
func BenchmarkLatency(b *testing.B) {
	server := redistest.Start(b)
	from, to := open(b, server.Client()), open(b, server.Client())
	ensure(b, from, engine.Spec{})
	s := timing{make(chan time.Duration, b.N)}
	stop := must[func()](b)(to.Watch(ctx, chat, s))
	defer stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	b.ResetTimer()
	for range b.N {
		<-tick.C
		send(b, from, fmt.Sprintf("%256d", time.Now().UnixNano()))
	}
	var all []time.Duration
	for range b.N {
		all = append(all, <-s.heard)
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}

func BenchmarkReplay(b *testing.B) {
	server := redistest.Start(b)
	e := open(b, server.Client())
	ensure(b, e, engine.Spec{})
	positions := send(b, e, slices.Repeat([]string{string(payload)}, 1001)...)
	for _, n := range []int{20, 1000} {
		b.Run(fmt.Sprint("entries=", n), func(b *testing.B) {
			after := positions[len(positions)-1-n]
			var all []time.Duration
			for b.Loop() {
				start := time.Now()
				if batch := must[engine.Batch](b)(e.Read(ctx, chat, after, n)); len(batch.Entries) != n {
					b.Fatal(len(batch.Entries))
				}
				all = append(all, time.Since(start))
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// What it costs the server to name its history in every answer: with Config.Lossless it
// does not. The server says how long its scripts took.
func BenchmarkHistory(b *testing.B) {
	for _, lossless := range []bool{true, false} {
		server := redistest.Start(b)
		client := server.Client()
		e := open(b, client, redis.Config{Lossless: lossless})
		ensure(b, e, engine.Spec{})
		positions := send(b, e, slices.Repeat([]string{string(payload)}, 100)...)
		item := engine.Item{Data: payload}
		for _, call := range []struct {
			name string
			do   func() error
		}{
			{"tail", func() error { _, err := e.Tail(ctx, chat); return err }},
			{"read=20", func() error { _, err := e.Read(ctx, chat, positions[79], 20); return err }},
			{"append", func() error { _, err := e.Append(ctx, chat, item); return err }},
		} {
			b.Run(fmt.Sprintf("%s/lossless=%t", call.name, lossless), func(b *testing.B) {
				if err := client.ConfigResetStat(ctx).Err(); err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if err := call.do(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(scriptTime(b, client), "server-µs/op")
			})
		}
	}
}

// scriptTime is how many microseconds a script took the server on average.
func scriptTime(b *testing.B, client *goredis.Client) float64 {
	_, stat, _ := strings.Cut(must[string](b)(client.Info(ctx, "commandstats").Result()), "cmdstat_evalsha:")
	_, each, _ := strings.Cut(stat, "usec_per_call=")
	each, _, _ = strings.Cut(each, ",")
	return must[float64](b)(strconv.ParseFloat(each, 64))
}

func BenchmarkTails(b *testing.B) {
	e := open(b, redistest.Start(b).Client())
	var names []engine.Name
	for i := range 1000 {
		names = append(names, engine.Name{Channel: fmt.Sprint("room ", i)})
		must[engine.Info](b)(e.Ensure(ctx, names[i], engine.Spec{}))
	}
	b.ResetTimer()
	for b.Loop() {
		must[[]engine.Position](b)(e.Tails(ctx, names))
	}
}

// What a channel costs the server: one entry each, and watched by one node.
func BenchmarkChannelMemory(b *testing.B) {
	for _, channels := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint("channels=", channels), func(b *testing.B) {
			for b.Loop() {
				channelMemory(b, channels)
			}
		})
	}
}

func channelMemory(b *testing.B, channels int) {
	server := redistest.Start(b)
	client := server.Client(pool)
	e := open(b, client)
	used := func() float64 {
		info := must[string](b)(client.Info(ctx, "memory").Result())
		for line := range strings.Lines(info) {
			if v, ok := strings.CutPrefix(line, "used_memory:"); ok {
				n, _ := strconv.ParseFloat(strings.TrimSpace(v), 64)
				return n
			}
		}
		b.Fatal("no used_memory")
		return 0
	}
	each := func(f func(n engine.Name)) {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				for i := next.Add(1); i <= int64(channels); i = next.Add(1) {
					f(engine.Name{Prefix: "app", Channel: fmt.Sprint("room:", i)})
				}
			})
		}
		wg.Wait()
	}
	empty := used()
	each(func(n engine.Name) { must[engine.Info](b)(e.Ensure(ctx, n, engine.Spec{})) })
	made := used()
	each(func(n engine.Name) {
		must[[]engine.Position](b)(e.Append(ctx, n, engine.Item{Data: payload}))
	})
	filled := used()
	start := time.Now()
	each(func(n engine.Name) { must[func()](b)(e.Watch(ctx, n, timing{})) })
	b.ReportMetric(float64(channels)/time.Since(start).Seconds(), "watches/s")
	b.ReportMetric((made-empty)/float64(channels), "B/empty")
	b.ReportMetric((filled-empty)/float64(channels), "B/entry")
	b.ReportMetric((used()-filled)/float64(channels), "B/watch")
}
