package sitetest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

const (
	senders = 3
	each    = 150 // values of one sender
	readers = 8
)

// A conversation is one channel on all nodes, and what is said in it: "sender-number".
type conversation struct {
	*kit
	spec    scope.Spec
	handles []*scope.Handle
	said    sync.WaitGroup
	pause   time.Duration // the longest between two values
}

func (k *kit) converse(spec scope.Spec, pause time.Duration) *conversation {
	return &conversation{kit: k, spec: spec, handles: k.channel(spec), pause: pause}
}

// begin has every sender say its values, each from a node of its own.
func (c *conversation) begin() {
	for s := range senders {
		feed, random := c.handles[s%len(c.handles)].Feed(), c.random(uint64(s))
		c.said.Go(func() {
			for n := range each {
				if err := feed.Put(context.Background(), fmt.Appendf(nil, "%d-%d", s, n)); err != nil {
					c.Errorf("sender %d: %v", s, err)
					return
				}
				time.Sleep(time.Duration(random.Int64N(int64(c.pause))))
			}
		})
	}
}

// finish says, when all senders are done, that this is the end; again and again until
// stop, as what was lost at the end of the feed is betrayed by what follows. In a
// bubble it is said once, and the probe has to find it.
func (c *conversation) finish() (stop func()) {
	c.said.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if err := c.handles[n%len(c.handles)].Feed().Put(ctx, []byte("end")); err != nil && ctx.Err() == nil {
				c.Errorf("the end: %v", err)
			}
			if c.bubble {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// A listener hears a conversation, and checks it.
type listener struct {
	reader
	heard   []string
	last    [senders]int  // the number heard last of each; -1: none
	excused [senders]bool // a full came since
	fulls   int
	lenient bool // a full is expected
	ended   bool // the end was heard
}

func (c *conversation) listener(i int, lenient bool) *listener {
	l := &listener{reader: *c.newReader(i, c.handles[i%len(c.handles)].History(0)), lenient: lenient}
	for s := range l.last {
		l.last[s] = -1
	}
	return l
}

// hears listens until the end, before which it has to have the last value of every
// sender, unless it was told full.
func (l *listener) hears(away time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer l.cut()
	for !l.ended {
		if ctx.Err() != nil {
			return fmt.Errorf("after %v: heard the senders up to %v of %d, and not the end; %d values in all", patience, l.last, each-1, len(l.heard))
		}
		events, err := l.hear(ctx)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := l.take(e); err != nil {
				return fmt.Errorf("%w; heard before: %.300q", err, l.heard)
			}
		}
		if l.stream == nil && away > 0 {
			time.Sleep(time.Duration(l.random.Int64N(int64(away))))
		}
		select {
		case <-l.wakes:
		case <-time.After(time.Duration(l.random.IntN(20)+1) * time.Millisecond):
		}
	}
	return nil
}

func (l *listener) take(e sse.Event) error {
	switch e.Name {
	case "chat":
		return l.value(string(e.Data))
	case "comet:full":
		var notice struct{ Reason, Resume string }
		if err := json.Unmarshal(e.Data, &notice); err != nil || !l.lenient || notice.Reason != "trimmed" || notice.Resume == "" {
			return fmt.Errorf("comet:full %s", e.Data)
		}
		for s := range l.excused {
			l.excused[s] = true
		}
		l.fulls++
	case "comet:hello", "comet:hb", "comet:away":
	default:
		return fmt.Errorf("%s %s", e.Name, e.Data)
	}
	return nil
}

// value checks one: in its sender's order, and without a hole that no full excuses.
func (l *listener) value(text string) error {
	l.heard = append(l.heard, text)
	if text == "end" {
		l.ended = true
		return l.missing()
	}
	sender, number, _ := strings.Cut(text, "-")
	s, err := strconv.Atoi(sender)
	n, err2 := strconv.Atoi(number)
	if err != nil || err2 != nil || s < 0 || s >= senders {
		return fmt.Errorf("%q was never said", text)
	}
	switch {
	case n <= l.last[s]:
		return fmt.Errorf("%q came after %d of the same sender", text, l.last[s])
	case n > l.last[s]+1 && !l.excused[s]:
		return fmt.Errorf("%q came after %d of the same sender, and no full", text, l.last[s])
	}
	l.last[s], l.excused[s] = n, false
	return nil
}

// missing says which sender's last value was not heard before the end.
func (l *listener) missing() error {
	for s, n := range l.last {
		if n < each-1 && !l.excused[s] {
			return fmt.Errorf("the end came after %d of sender %d, which said %d, and no full", n, s, each-1)
		}
	}
	return nil
}

// all has many listeners hear the conversation.
func (c *conversation) all(lenient bool, away time.Duration) []*listener {
	c.Helper()
	listeners := make([]*listener, readers)
	for i := range listeners {
		listeners[i] = c.listener(i, lenient)
	}
	c.begin()
	var hearing sync.WaitGroup
	for i, l := range listeners {
		hearing.Go(func() {
			if err := l.hears(away); err != nil {
				c.Errorf("COMET_SEED=%d: reader %d: %v", c.seed, i, err)
			}
		})
	}
	stop := c.finish()
	hearing.Wait()
	stop()
	return listeners
}

func caseComplete(k *kit) {
	c := k.converse(scope.Spec{Name: "chat", Size: 100_000}, 5*time.Millisecond)
	listeners := c.all(false, 30*time.Millisecond)
	log := k.log("chat")
	for i, l := range listeners {
		if len(l.heard) > len(log) || !slices.Equal(l.heard, log[:len(l.heard)]) {
			k.Errorf("COMET_SEED=%d: reader %d heard %.500q, the log has %.500q", k.seed, i, l.heard, log)
		}
	}
}

func caseTrimmed(k *kit) {
	c := k.converse(scope.Spec{Name: "chat", Size: 5}, 2*time.Millisecond)
	fulls := 0
	for _, l := range c.all(true, 200*time.Millisecond) {
		fulls += l.fulls
	}
	if fulls == 0 && !k.Failed() {
		k.Errorf("COMET_SEED=%d: nobody was away for long enough: the case proves nothing", k.seed)
	}
}

func caseNewest(k *kit) {
	handles := k.channel(scope.Spec{Name: "level", Kind: scope.Newest})
	all := make([]*reader, readers)
	for i := range all {
		all[i] = k.newReader(i, handles[i%len(handles)])
	}
	var work sync.WaitGroup
	say := func(text string) {
		if err := handles[0].Feed().Put(context.Background(), []byte(text)); err != nil {
			k.Error(err)
		}
	}
	work.Go(func() {
		for n := range each {
			say(strconv.Itoa(n))
			time.Sleep(time.Millisecond)
		}
		if !k.bubble { // what was lost last is found by what follows
			time.Sleep(50 * time.Millisecond)
			for range 20 {
				say(strconv.Itoa(each))
			}
		} else {
			say(strconv.Itoa(each))
		}
	})
	for i, r := range all {
		work.Go(func() {
			if err := r.reaches(each); err != nil {
				k.Errorf("COMET_SEED=%d: reader %d: %v", k.seed, i, err)
			}
		})
	}
	work.Wait()
}

// reaches hears a newest channel that counts, up to a number.
func (r *reader) reaches(number int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer r.cut()
	for last := -1; last < number; {
		if ctx.Err() != nil {
			return fmt.Errorf("after %v: heard up to %d of %d", patience, last, number)
		}
		events, err := r.hear(ctx)
		if err != nil {
			return err
		}
		for _, e := range events {
			switch n, err := strconv.Atoi(string(e.Data)); {
			case e.Name == "comet:hello" || e.Name == "comet:hb" || e.Name == "comet:away":
			case e.Name != "level" || err != nil:
				return fmt.Errorf("heard %s %s", e.Name, e.Data)
			case n < last:
				return fmt.Errorf("%d came after %d", n, last)
			default:
				last = n
			}
		}
		select {
		case <-r.wakes:
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

func caseFollowing(k *kit) {
	c := k.converse(scope.Spec{Name: "chat", Size: 100_000}, 5*time.Millisecond)
	var reading sync.WaitGroup
	for i, site := range k.sites {
		reading.Go(func() {
			if err := c.follow(site); err != nil {
				k.Errorf("COMET_SEED=%d: node %d: %v", k.seed, i, err)
			}
		})
	}
	c.begin()
	stop := c.finish()
	reading.Wait()
	stop()
}

// follow reads the conversation as another instance does, and goes on from a position
// now and then.
func (c *conversation) follow(site *scope.Site) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l := &listener{}
	for s := range l.last {
		l.last[s] = -1
	}
	var at engine.Position
	for !l.ended {
		spec := scope.FollowSpec{Prefix: c.prefix, Name: "chat", Size: 100_000, History: 100_000, After: at}
		f, err := site.Follow(ctx, spec)
		if err != nil {
			return err
		}
		for n := 0; n < 100 && !l.ended; n++ {
			data, position, err := f.Next(ctx)
			if err == nil {
				err = l.value(string(data))
			}
			if err != nil {
				f.Close()
				return fmt.Errorf("%w; heard the senders up to %v of %d", err, l.last, each-1)
			}
			at = position
		}
		f.Close()
	}
	return nil
}
