package scope

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/internal/cursor"
	"github.com/ocsigo/comet/sse"
)

const fuzzSession = "s"

// fuzzNode is one node of an app, with a process that has a private channel.
func fuzzNode(f *testing.F) (*Site, *ClientProcess) {
	f.Helper()
	log := memory.New(memory.Config{Nodes: true})
	s := NewSite(SiteConfig{Engine: log, MaxProcesses: 10, ConnectWithin: 24 * time.Hour, ReturnWithin: 24 * time.Hour})
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			f.Error(err)
		}
		_ = log.Close(ctx)
	})
	return s, s.fuzzProcess(f)
}

// fuzzProcess is a process with a private channel.
func (s *Site) fuzzProcess(t testing.TB) *ClientProcess {
	t.Helper()
	p, err := s.NewProcess(fuzzSession)
	if err != nil {
		t.Fatal(err)
	}
	h, err := Register(p, Spec{Name: "mine", Size: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"1", "2"} {
		if err := h.Feed().Put(context.Background(), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// collectAll hears all that an event stream has to say now, as its peer reads it.
func collectAll(t *testing.T, es *EventStream) (events []sse.Event) {
	t.Helper()
	var b sse.Batch
	var wire bytes.Buffer
	for range 1000 {
		b.Reset()
		more, err := es.Collect(&b, 64<<10)
		wire.Write(b.Bytes())
		if errors.Is(err, io.EOF) || err == nil && b.Len() == 0 && !more {
			for e, err := range sse.Read(&wire) {
				if err != nil {
					t.Fatal(err)
				}
				if e.Name == "" && len(e.Data) == 0 {
					t.Fatal("an event of nothing")
				}
				events = append(events, e)
			}
			return events
		}
		if err != nil {
			t.Fatal("Collect:", err)
		}
	}
	t.Fatal("an event stream never comes to an end of what it says")
	return nil
}

// forgetStrangers ends what a request of no true node has left behind.
func forgetStrangers(s *Site) {
	s.mu.Lock()
	var strangers []string
	for key := range s.sessions {
		if key != fuzzSession {
			strangers = append(strangers, key)
		}
	}
	s.mu.Unlock()
	for _, key := range strangers {
		s.EndSession(key)
	}
	s.node.mu.Lock()
	clear(s.node.parts)
	s.node.mu.Unlock()
}

// FuzzAnswer: whatever another node asks, this one does not fail over it, answers by
// one of the known answers, and has lost nothing of its own.
func FuzzAnswer(f *testing.F) {
	s, p := fuzzNode(f)
	p.end(ErrProcessGone)                            // each request has one of its own
	placeholder := strings.Repeat("P", len(p.token)) // for a token, which differs from run to run
	ask := func(what asked) parcel { return parcel{byte(what)} }
	f.Add([]byte(ask(askKnock).text(placeholder).text(fuzzSession)))
	f.Add([]byte(ask(askAttach).text(placeholder).text(fuzzSession).text("other").number(7).number(1).number(1).number(0).flags(true, false, true, false).text("ann")))
	f.Add([]byte(ask(askNext).text(placeholder).number(1).number(0).number(0).flags(false, false, true)))
	f.Add([]byte(ask(askLeave).text(placeholder).number(1)))
	f.Add([]byte(append(ask(askStep), encode(step{What: "close", Token: placeholder, Session: fuzzSession, Name: "x"})...)))
	f.Add([]byte(append(ask(askStep), encode(step{What: "send", Token: placeholder, Session: fuzzSession, Name: "x", N: "1", Values: []string{"1", "\xff"}})...)))
	f.Add([]byte(append(ask(askBoard), encode(posting{"register", placeholder, fuzzSession, "ann", "chat@-1"})...)))
	f.Add([]byte(ask(askEndSession).text("t")))
	f.Add([]byte(ask(askAdopt).text("abcdefghijklmnopqrstuvwxyzab").number(1).number(0).flags(true).bytes(nil)))
	f.Fuzz(func(t *testing.T, request []byte) {
		if len(request) == 0 || asked(request[0]) == askEndSession && (&unparcel{rest: request[1:]}).text() == fuzzSession {
			return // any node may end a session
		}
		p := s.fuzzProcess(t)
		request = bytes.ReplaceAll(request, []byte(placeholder), []byte(p.token))
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // a question that would be held is answered at once
		reply := s.node.about(ctx, asked(request[0]), &unparcel{rest: bytes.Clone(request[1:])})
		what, _, err := read(reply)
		if err != nil || what < wasDone || what > notNow {
			t.Fatalf("%q is answered %q: %v", request, reply, err)
		}
		if len(reply) > len(request)+4096 {
			t.Fatalf("%q is answered with %d bytes", request, len(reply))
		}
		forgetStrangers(s)
		if there, owner := s.whereIs(p.token); there != p || owner != "" {
			t.Fatalf("%q: the process is gone", request)
		}
		p.end(ErrProcessGone)
	})
}

// FuzzAdopt: a process that another node hands over is taken whole or not at all, and a
// page that comes for one hears an event stream, whatever is in it.
func FuzzAdopt(f *testing.F) {
	s, p := fuzzNode(f)
	p.mu.Lock()
	p.over = &handing{done: make(chan struct{})} // pack needs it
	p.mu.Unlock()
	whole, err := p.pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(whole), uint64(0))
	f.Add(bytes.ReplaceAll(whole, []byte("mine"), []byte("\r\n\r\n")), uint64(1))
	f.Add([]byte(parcel(nil).text("t").text("x")), uint64(1<<63))
	f.Fuzz(func(t *testing.T, data []byte, number uint64) {
		u := &unparcel{rest: bytes.Clone(data)}
		q, ok := s.unpackProcess(u)
		if !ok || q.session == fuzzSession {
			return
		}
		const token = "abcdefghijklmnopqrstuv"
		q.token = s.node.name.ID + token
		if !s.adopt(q) {
			t.Fatal("a process that is whole was not taken")
		}
		defer forgetStrangers(s)
		query := "v=1&p=" + q.token
		if number > 0 {
			query += "." + strconv.FormatUint(number, 36)
		}
		for range 2 { // and once more, from where it is
			es, err := s.OpenStream(context.Background(), Request{Query: query, Reader: Reader{Session: q.session}})
			if err != nil {
				t.Fatal(err)
			}
			es.Start(func() {})
			if events := collectAll(t, es); len(events) == 0 || events[0].Name != "comet:hello" {
				t.Fatalf("heard %v", events)
			}
			es.Gone(nil)
		}
	})
}

// FuzzNews: whatever an owner answers to a relay, the event stream that carries the
// process says something well-formed, and costs no more than was sent.
func FuzzNews(f *testing.F) {
	s, _ := fuzzNode(f)
	f.Add([]byte(parcel(nil).number(1).number(3).number(1).flags(true).text("unread")), []byte(parcel(nil).flags(false).number(4).number(0)))
	event := parcel(nil).flags(false).number(4).number(1).number(4).text("mine").flags(false, true, false, true).number(0).text("").bytes([]byte("data"))
	f.Add([]byte(parcel(nil).number(1).number(3).number(0)), []byte(event))
	f.Add([]byte(parcel(nil).number(1).number(3).number(0)), bytes.ReplaceAll(event, []byte("mine"), []byte("a\nb\r")))
	f.Fuzz(func(t *testing.T, begin, hear []byte) {
		es, err := s.OpenStream(context.Background(), Request{Query: "v=1", Reader: Reader{Session: fuzzSession}})
		if err != nil {
			t.Fatal(err)
		}
		es.Start(func() {})
		r := &relay{node: s.node, stream: es, token: "abcdefghijklmnopqrstuv", known: make(chan struct{}), more: make(chan struct{}, 1), cancel: func() {}}
		if r.begin(&unparcel{rest: bytes.Clone(begin)}) == nil {
			_ = r.hear(&unparcel{rest: bytes.Clone(hear)})
			es.mu.Lock()
			place := es.newReader(cursor.Process{Token: r.token})
			place.source = r
			es.mu.Unlock()
			for _, e := range collectAll(t, es) {
				if strings.ContainsAny(e.Name, "\r\n\x00") {
					t.Fatalf("event name %q", e.Name)
				}
			}
		}
		s.node.unlist(r)
		es.Gone(nil)
	})
}

// FuzzParcel: what is written is read again, and nothing that is read costs more than
// its bytes.
func FuzzParcel(f *testing.F) {
	f.Add(uint64(1), "text", []byte("bytes"), true, []byte{0x80})
	f.Fuzz(func(t *testing.T, n uint64, text string, data []byte, flag bool, rest []byte) {
		u := &unparcel{rest: append(parcel(nil).number(n).text(text).bytes(data).flags(false, flag), rest...)}
		var no, yes bool
		number, word, piece := u.number(), u.text(), u.bytes()
		u.flags(&no, &yes)
		if number != n || word != text || !bytes.Equal(piece, data) || no || yes != flag || u.bad || !bytes.Equal(u.rest, rest) {
			t.Fatalf("%d %q %q %v became %d %q %q %v", n, text, data, flag, number, word, piece, yes)
		}
		for before := len(u.rest) + 1; len(u.rest) < before && !u.bad; {
			before = len(u.rest)
			if count := u.count(); count > before {
				t.Fatalf("%d bytes promise %d things", before, count)
			}
		}
	})
}
