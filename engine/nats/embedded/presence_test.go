package embedded_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine/nats"
	"github.com/ocsigo/comet/engine/nats/embedded/natstest"
	"github.com/ocsigo/comet/scope"
)

// TestWhoIsThere: two nodes on a real cluster count each other's readers, tell who comes
// and goes, and reach each other's tabs.
func TestWhoIsThere(t *testing.T) {
	servers := natstest.Three(t)
	var sites []*scope.Site
	var chats []*scope.Handle
	for _, s := range servers[:2] {
		site := scope.NewSite(scope.SiteConfig{Engine: open(t, s, nats.Config{})})
		t.Cleanup(func() {
			if err := site.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		chat, err := scope.Register(site, scope.Spec{Name: "chat"})
		if err != nil {
			t.Fatal(err)
		}
		sites, chats = append(sites, site), append(chats, chat)
	}
	var streams []*scope.EventStream
	for i, site := range sites {
		p, err := site.NewProcess("s")
		if err != nil {
			t.Fatal(err)
		}
		p.BelongsTo("ann")
		if _, err := scope.Register(p, scope.Spec{Name: "notice", Type: "text", Personal: true}); err != nil {
			t.Fatal(err)
		}
		link, err := site.Link(t.Context(), p, 6, chats[i])
		if err != nil {
			t.Fatal(err)
		}
		es, err := site.OpenStream(t.Context(), scope.Request{Query: link.Query, Reader: scope.Reader{Session: "s", User: "ann"}})
		if err != nil {
			t.Fatal(err)
		}
		es.Start(func() {})
		t.Cleanup(func() { es.Gone(nil) })
		streams = append(streams, es)
	}
	want := scope.Readers{Streams: 2, Sessions: 1, Users: 1, Nodes: 2}
	eventually(t, "the nodes to know each other", func() bool {
		got, err := chats[0].AllReaders(t.Context())
		return got == want && err == nil
	})
	if got, err := sites[1].User("ann").Reach(t.Context(), "notice", "text", []byte("hello")); err != nil || got != (scope.Reach{Tabs: 2, Nodes: 2}) {
		t.Error(got, err)
	}
	if got, err := sites[0].Session("s").CountAll(t.Context()); err != nil || got != (scope.TabCount{Tabs: 2, Active: 2, Nodes: 2}) {
		t.Error(got, err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	streams[0].Gone(nil) // ann is still there, on the other node
	var told []bool
	for c, err := range chats[0].Presence(scope.PresenceConfig{Grace: time.Second})(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if told = append(told, c.Here); !c.Here {
			break
		}
		streams[1].Gone(nil)
	}
	if !slices.Equal(told, []bool{true, false}) {
		t.Error("told", told)
	}
}
