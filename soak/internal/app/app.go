// Package app is the app under test: it has channels of every kind, whose values say
// where they belong, sources that fail, and a storage that is slow.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/soak/internal/oracle"
)

// Config says what a server is.
type Config struct {
	Addr     string // host:port; port 0 chooses one
	Sessions string // the file that keeps the sessions' records; "": they end with the process
	Seed     uint64
	Queues   int           // queue channels of the site, q0 …
	Every    time.Duration // one value of each
	Newest   int           // newest channels, n0 …
	Mortal   int           // channels that die in every way, m0 …, and are made anew
	Mine     time.Duration // one value of each process
	Return   time.Duration // how long a process lives that is away
	Mutant   Mutant        // what is done to what it says, on its way
}

// The channels' bounds.
const (
	queueSize = 100
	mineSize  = 60
	smallSize = 5
)

// Stats is what the server says of itself.
type Stats struct {
	Goroutines  int
	Descriptors int
	Heap        uint64 // in use after a collection, in bytes
	Processes   int
	Storage     int // calls
	Failed      int // of them
}

// Server is one that runs.
type server struct {
	Config
	site    *scope.Site
	storage *storage
	log     *slog.Logger

	mu       sync.Mutex
	random   *rand.Rand
	counts   map[string]oracle.Value // the newest of each site channel
	channels map[string]*channel.Channel[oracle.Value]
	tabs     map[string]*process
}

// process is what the app has of one client process.
type process struct {
	*scope.ClientProcess
	life        string
	mine, small *channel.Sender[oracle.Value]
	numbers     map[string]uint64
}

// Serve serves until the process is killed.
func Serve(config []byte, ready func(addr string)) error {
	var c Config
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(c.Seed, 1))
	s := &server{
		Config: c, random: random, storage: newStorage(c.Sessions, rand.New(rand.NewPCG(c.Seed, 2))),
		counts: map[string]oracle.Value{}, channels: map[string]*channel.Channel[oracle.Value]{}, tabs: map[string]*process{},
		// What is provoked is no news: failing sources and storages are logged.
		log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 1})),
	}
	s.site = comet.NewSite(comet.SiteConfig{
		Heartbeat: 2 * time.Second, ConnectWithin: c.Return, ReturnWithin: c.Return, MaxSessionStreams: 20, MaxProcesses: 10,
	})
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/stats", func(c *fiber.Ctx) error { return c.JSON(s.stats()) })
	app.Get("/newest", s.newest)
	app.Use(comet.New(comet.Config{Site: s.site, Storage: s.storage, Retry: 200 * time.Millisecond, Logger: s.log, SessionLife: 2 * time.Minute}))
	app.Get("/page", s.page)
	app.Post("/burst", s.burst)
	app.Post("/logout", func(c *fiber.Ctx) error { return comet.EndSession(c) })
	if err := s.begin(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp4", c.Addr)
	if err != nil {
		return err
	}
	if c.Mutant != "" {
		if ln, err = c.Mutant.between(ln); err != nil {
			return err
		}
	}
	ready(c.Addr)
	return app.Listener(comet.Listener(ln, s.log))
}

func (s *server) begin() error {
	var queues, newest []*feed
	for i := range s.Queues {
		f, err := s.feed("q"+strconv.Itoa(i), false)
		if err != nil {
			return err
		}
		queues = append(queues, f)
	}
	for i := range s.Newest {
		f, err := s.feed("n"+strconv.Itoa(i), true)
		if err != nil {
			return err
		}
		newest = append(newest, f)
	}
	go s.publish(append(queues, newest...))
	for i := range s.Mortal {
		go s.mortal("m"+strconv.Itoa(i), rand.New(rand.NewPCG(s.Seed, uint64(100+i))))
	}
	go s.pushMine()
	return nil
}

// A feed is a site channel that is sent to.
type feed struct {
	sender *channel.Sender[oracle.Value]
	next   oracle.Value
}

func (s *server) feed(name string, newest bool) (*feed, error) {
	sender, stream := channel.Push[oracle.Value]()
	var ch *channel.Channel[oracle.Value]
	var err error
	if newest {
		ch, err = channel.CreateNewest(s.site, stream, channel.NewestConfig{Name: name})
	} else {
		ch, err = channel.Create(s.site, stream, channel.Config{Name: name, Size: queueSize})
	}
	if err != nil {
		return nil, err
	}
	f := &feed{sender, oracle.Value{Channel: name, Life: life()}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[name], s.counts[name] = ch, f.next
	return f, nil
}

func life() string { return strconv.FormatUint(rand.Uint64(), 36) }

// publish sends to all feeds, one after the other.
func (s *server) publish(feeds []*feed) {
	for {
		for _, f := range feeds {
			f.next.Number++
			s.count(f.next) // before it can be heard
			if err := f.sender.Send(context.Background(), f.next); err != nil {
				panic(fmt.Sprintf("sending to %s: %v", f.next.Channel, err))
			}
			time.Sleep(s.Every / time.Duration(len(feeds)))
		}
	}
}

func (s *server) count(v oracle.Value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[v.Channel] = v
}

var errSource = errors.New("the source fails, as it is told to")

// panicky is JSON whose encoding panics when the last value comes.
type panicky struct {
	channel.Encoding
	last uint64
}

func (p panicky) Encode(v any) ([]byte, error) {
	if v.(oracle.Value).Number == p.last {
		panic("the marshaller panics, as it is told to")
	}
	return p.Encoding.Encode(v)
}

// mortal makes a channel again and again, which dies in one way after the other.
func (s *server) mortal(name string, random *rand.Rand) {
	for {
		last, way := uint64(5+random.IntN(25)), random.IntN(5)
		next := oracle.Value{Channel: name, Life: life()}
		enc := channel.JSON
		if way == 4 {
			enc = panicky{channel.JSON, last}
		}
		stream := channel.From(func(ctx context.Context) (oracle.Value, error) {
			select {
			case <-ctx.Done():
				return next, ctx.Err()
			case <-time.After(s.Every):
			}
			if next.Number+1 == last {
				switch way {
				case 0:
					return next, fmt.Errorf("reading on: %w", errSource)
				case 1:
					panic("the source panics, as it is told to")
				case 2:
					return next, channelEOF
				}
			}
			next.Number++
			s.count(next)
			return next, nil
		})
		s.count(next)
		ch, err := channel.Create(s.site, stream, channel.Config{Name: name, Size: queueSize, Encoding: enc})
		if err != nil {
			panic(fmt.Sprintf("creating %s: %v", name, err))
		}
		s.mu.Lock()
		s.channels[name] = ch
		s.mu.Unlock()
		if way == 3 {
			time.AfterFunc(time.Duration(last)*s.Every, ch.Close)
		}
		<-ch.Done()
		time.Sleep(time.Duration(random.IntN(6000)) * time.Millisecond)
		ch.Close() // until then its name stays taken, for late readers
	}
}

// newest tells what the newest value of each lasting site channel is.
func (s *server) newest(c *fiber.Ctx) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]oracle.Value{}
	for name, v := range s.counts {
		if name[0] != 'm' {
			all[name] = v
		}
	}
	return c.JSON(all)
}

func (s *server) stats() Stats {
	runtime.GC()
	runtime.GC() // what the first one's cleanups let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	processes := len(s.tabs)
	s.mu.Unlock()
	s.storage.mu.Lock()
	defer s.storage.mu.Unlock()
	return Stats{
		Goroutines: runtime.NumGoroutine(), Descriptors: len(open), Heap: m.HeapAlloc, Processes: processes, Storage: s.storage.Calls, Failed: s.storage.Failed,
	}
}
