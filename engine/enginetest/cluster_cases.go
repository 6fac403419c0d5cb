package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ocsigo/comet/engine"
)

// clusterCases are those of engines whose Caps say Cluster.
var clusterCases = []testCase{
	{"ask", "a relay that gets another's reply gives a tab another tab's values", inCluster(caseAsk)},
	{"nonode", "a tab whose node is dead must hear so at once, and one whose node is slow must not", inCluster(caseNoNode)},
	{"asklimits", "what is too long is refused to who asks, or a relay waits for ever", inCluster(caseAskLimits)},
	{"record", "a record that ends too early makes a living node's tabs gone; one that stays leaves a dead node's tabs waiting", inCluster(caseRecord)},
	{"records", "a node that drains hands its tabs to one that is on record", inCluster(caseRecords)},
	{"clusterclose", "after Close nothing may be heard, and those who ask must know", inCluster(caseClusterClose)},
}

func inCluster(run func(k *kit)) func(k *kit) {
	return func(k *kit) {
		if !k.caps().Cluster {
			k.Skip("Caps do not say Cluster")
		}
		run(k)
	}
}

func (k *kit) node() engine.Node {
	k.made++
	return engine.Node{Prefix: k.prefix, ID: "n" + strconv.Itoa(k.made)}
}

// cluster returns handle i as a Cluster, counted round and round.
func (k *kit) cluster(i int) engine.Cluster {
	k.Helper()
	c, ok := k.handle(i).(engine.Cluster)
	if !ok {
		k.Fatalf("Caps say Cluster, and %T is none", k.handle(i))
	}
	return c
}

func (k *kit) serve(i int, n engine.Node, answer engine.Answer) (stop func()) {
	k.Helper()
	stop, err := k.cluster(i).Serve(k.ctx, n, answer)
	k.must(err)
	return stop
}

// ask asks n through handle i, and waits no longer than an engine may take.
func (k *kit) ask(i int, n engine.Node, request []byte) ([]byte, error) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.ctx, patience)
	defer cancel()
	return k.cluster(i).Ask(ctx, n, request)
}

func echo(_ context.Context, request []byte) []byte { return append([]byte("re: "), request...) }

func caseAsk(k *kit) {
	n, m := k.node(), k.node()
	foreign := engine.Node{Prefix: k.prefix + "x", ID: n.ID}
	defer k.serve(0, n, echo)()
	defer k.serve(1, m, func(_ context.Context, request []byte) []byte { return bytes.ToUpper(request) })()
	defer k.serve(1, foreign, func(context.Context, []byte) []byte { return nil })()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			text := fmt.Sprintf("request %d", i)
			request := []byte(text)
			reply, err := k.ask(i, n, request)
			clear(request)
			if err != nil || string(reply) != "re: "+text {
				k.Errorf("Ask %q: %q, %v", text, reply, err)
			}
			if reply, err = k.ask(i, m, []byte(text)); err != nil || string(reply) != strings.ToUpper(text) {
				k.Errorf("Ask another node %q: %q, %v", text, reply, err)
			}
			if reply, err = k.ask(i, foreign, nil); err != nil || len(reply) != 0 {
				k.Errorf("Ask the node of another prefix nothing: %q, %v", reply, err)
			}
		})
	}
	wg.Wait()
	k.askWhileOneBlocks()
}

// askWhileOneBlocks: a request that the node holds must not hold up the next.
func (k *kit) askWhileOneBlocks() {
	n, held, release := k.node(), make(chan struct{}), make(chan struct{})
	defer k.serve(0, n, func(_ context.Context, request []byte) []byte {
		if string(request) == "hold" {
			close(held)
			<-release
		}
		return request
	})()
	var wg sync.WaitGroup
	wg.Go(func() {
		if reply, err := k.ask(1, n, []byte("hold")); err != nil || string(reply) != "hold" {
			k.Errorf("a request that was held: %q, %v", reply, err)
		}
	})
	<-held
	reply, err := k.ask(1, n, []byte("go"))
	if err != nil || string(reply) != "go" {
		k.Errorf("a request beside one that is held: %q, %v", reply, err)
	}
	close(release)
	wg.Wait()
}

func caseNoNode(k *kit) {
	n := k.node()
	ask := func(ctx context.Context) error {
		_, err := k.cluster(1).Ask(ctx, n, []byte("anybody?"))
		return err
	}
	// The context is long: only an answer at once can be in time.
	ctx, cancel := context.WithTimeout(k.ctx, patience)
	defer cancel()
	k.want(ask(ctx), engine.ErrNoNode)

	heard, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	stop := k.serve(0, n, func(ctx context.Context, request []byte) []byte {
		heard <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return nil
	})
	asking, give := context.WithCancel(k.ctx)
	outcome := make(chan error, 1)
	go func() { outcome <- ask(asking) }()
	<-heard
	give()
	err := <-outcome
	k.want(err, engine.ErrUnknown)
	k.want(err, context.Canceled)
	stop()
	<-ended
	stop()
	k.want(ask(ctx), engine.ErrNoNode)

	defer k.serve(0, n, echo)()
	k.must(ask(ctx))
	gone, done := context.WithCancel(k.ctx)
	done()
	err = ask(gone)
	k.want(err, context.Canceled)
	if errors.Is(err, engine.ErrUnknown) {
		k.Fatalf("a context that had ended before: %v, and nothing was asked", err)
	}
}

func caseAskLimits(k *kit) {
	n, most := k.node(), k.caps().MaxEntry
	defer k.serve(0, n, func(_ context.Context, request []byte) []byte {
		if string(request) == "more" {
			return make([]byte, most+1)
		}
		return request
	})()
	long := bytes.Repeat([]byte("x"), most)
	reply, err := k.ask(1, n, long)
	k.must(err)
	if !bytes.Equal(reply, long) {
		k.Fatalf("a request of MaxEntry bytes came back as %d bytes", len(reply))
	}
	_, err = k.ask(1, n, append(long, 'x'))
	k.want(err, engine.ErrTooLarge)
	_, err = k.ask(1, n, []byte("more"))
	k.want(err, engine.ErrTooLarge)
	for _, bad := range []engine.Node{{Prefix: k.prefix}, {Prefix: k.prefix, ID: "A"}, {Prefix: "\xff", ID: "a"}, {ID: strings.Repeat("a", engine.MaxNode+1)}} {
		_, err := k.ask(0, bad, nil)
		k.want(err, engine.ErrBadName)
		_, err = k.cluster(0).Serve(k.ctx, bad, echo)
		k.want(err, engine.ErrBadName)
		k.want(k.cluster(0).SetRecord(k.ctx, bad, nil, time.Minute), engine.ErrBadName)
		_, err = k.cluster(0).Record(k.ctx, bad)
		k.want(err, engine.ErrBadName)
	}
	k.want(k.cluster(0).SetRecord(k.ctx, n, make([]byte, engine.MaxRecord+1), time.Minute), engine.ErrTooLarge)
	k.want(k.cluster(0).SetRecord(k.ctx, n, nil, engine.MinTTL-1), engine.ErrBadSpec)
}

func (k *kit) record(n engine.Node, want string) {
	k.Helper()
	for i := range k.handles {
		got, err := k.cluster(i).Record(k.ctx, n)
		k.must(err)
		if string(got) != want {
			k.Fatalf("handle %d: the record of %s is %q, want %q", i, n, got, want)
		}
	}
}

func caseRecord(k *kit) {
	n := k.node()
	_, err := k.cluster(0).Record(k.ctx, n)
	k.want(err, engine.ErrNoNode)
	k.must(k.cluster(0).DropRecord(k.ctx, n))

	data := []byte("one")
	k.must(k.cluster(0).SetRecord(k.ctx, n, data, time.Minute))
	clear(data)
	k.record(n, "one")
	k.must(k.cluster(1).SetRecord(k.ctx, n, bytes.Repeat([]byte("2"), engine.MaxRecord), time.Minute))
	k.record(n, strings.Repeat("2", engine.MaxRecord))
	k.must(k.cluster(1).DropRecord(k.ctx, n))
	for i := range k.handles {
		_, err := k.cluster(i).Record(k.ctx, n)
		k.want(err, engine.ErrNoNode)
	}

	// Renewed three times in its life it outlives it; then it ends, no earlier than
	// its time.
	const ttl = 1500 * time.Millisecond
	var renewed time.Time
	for range 4 {
		renewed = time.Now()
		k.must(k.cluster(0).SetRecord(k.ctx, n, []byte("alive"), ttl))
		time.Sleep(ttl / 3)
		k.record(n, "alive")
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		asked := time.Now()
		_, err := k.cluster(1).Record(k.ctx, n)
		if err == nil && time.Now().Before(deadline) {
			continue
		}
		k.want(err, engine.ErrNoNode)
		if answered := time.Now(); answered.Sub(renewed) < ttl {
			k.Fatalf("a record for %v was gone after %v (asked after %v)", ttl, answered.Sub(renewed), asked.Sub(renewed))
		}
		return
	}
}

func caseRecords(k *kit) {
	want := map[string]string{}
	for i := range 5 {
		n := k.node()
		want[n.ID] = "record " + n.ID
		k.must(k.cluster(i).SetRecord(k.ctx, n, []byte(want[n.ID]), time.Minute))
	}
	k.must(k.cluster(0).SetRecord(k.ctx, engine.Node{Prefix: k.prefix + "x", ID: "n1"}, []byte("foreign"), time.Minute))
	dropped := engine.Node{Prefix: k.prefix, ID: slices.Min(slices.Collect(maps.Keys(want)))}
	k.must(k.cluster(0).DropRecord(k.ctx, dropped))
	delete(want, dropped.ID)
	for i := range k.handles {
		var got map[string]string
		for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // it may be a moment behind
			records, err := k.cluster(i).Records(k.ctx, k.prefix)
			k.must(err)
			got = map[string]string{}
			for id, record := range records {
				got[id] = string(record)
			}
			if maps.Equal(got, want) || time.Now().After(deadline) {
				break
			}
		}
		if !maps.Equal(got, want) {
			k.Fatalf("handle %d: the records are %q, want %q", i, got, want)
		}
	}
	records, err := k.cluster(0).Records(k.ctx, k.prefix+"nobody's")
	k.must(err)
	if len(records) != 0 {
		k.Fatalf("the records of a prefix without nodes: %q", records)
	}
}

func caseClusterClose(k *kit) {
	n, ended := k.node(), make(chan struct{})
	heard := make(chan struct{})
	k.serve(0, n, func(ctx context.Context, _ []byte) []byte {
		close(heard)
		<-ctx.Done()
		close(ended)
		return nil
	})
	ctx, cancel := context.WithTimeout(k.ctx, patience)
	defer cancel()
	outcome := make(chan error, 1)
	go func() {
		_, err := k.cluster(1).Ask(ctx, n, nil)
		outcome <- err
	}()
	<-heard
	k.must(k.handle(0).Close(k.ctx))
	<-ended
	_, err := k.ask(0, n, nil)
	k.want(err, engine.ErrClosed)
	_, err = k.cluster(0).Serve(k.ctx, n, echo)
	k.want(err, engine.ErrClosed)
	k.want(k.cluster(0).SetRecord(k.ctx, n, nil, time.Minute), engine.ErrClosed)
	_, err = k.cluster(0).Record(k.ctx, n)
	k.want(err, engine.ErrClosed)
	k.want(k.cluster(0).DropRecord(k.ctx, n), engine.ErrClosed)
	_, err = k.cluster(0).Records(k.ctx, k.prefix)
	k.want(err, engine.ErrClosed)
	if len(k.handles) > 1 {
		_, err = k.cluster(1).Ask(ctx, n, nil)
		k.want(err, engine.ErrNoNode)
	}
	if err := <-outcome; err != nil { // the answer was given at the end, and may have come through
		k.want(err, engine.ErrUnknown, engine.ErrClosed)
	}
}
