package embedded_test

import (
	"context"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ocsigo/comet/engine/nats/embedded"
	"github.com/ocsigo/comet/engine/nats/embedded/natstest"
)

// TestClusterWithoutListen: servers of a cluster find each other though clients may not connect to them, and nobody but the
// app itself gets in.
func TestClusterWithoutListen(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var starting sync.WaitGroup
	servers := make([]*embedded.Server, 3)
	for i, c := range natstest.Configs(t, 3) {
		c.Listen = ""
		starting.Go(func() {
			s, err := embedded.Start(ctx, c)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(s.Stop)
			servers[i] = s
		})
	}
	starting.Wait()
	for _, s := range servers {
		if s == nil {
			t.FailNow()
		}
		conn, err := s.Connect()
		if err != nil {
			t.Fatal("the app itself:", err)
		}
		conn.Close()
		if s.URL() != "" {
			t.Errorf("URL is %q, want none", s.URL())
		}
		for _, address := range s.Listens() {
			if conn, err := natsgo.Connect("nats://" + address); err == nil {
				conn.Close()
				t.Errorf("anybody may connect to %s", address)
			}
		}
	}
}
