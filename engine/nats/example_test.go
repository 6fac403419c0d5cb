package nats_test

import (
	"context"
	"log"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/nats"
)

// An engine on a cluster of three servers. An app gives it to
// comet.SiteConfig.Engine, and its Storage to Fiber's session middleware.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := nats.Connect("nats://10.0.0.1,nats://10.0.0.2,nats://10.0.0.3")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	e, err := nats.New(ctx, conn, nats.Config{Replicas: 3})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close(ctx)

	name := engine.Name{Channel: "news"}
	info, err := e.Ensure(ctx, name, engine.Spec{Size: 100})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := e.Append(ctx, name, engine.Item{ID: "story-1", Data: []byte("…")}); err != nil {
		log.Fatal(err)
	}
	batch, err := e.Read(ctx, name, info.Tail, 0)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("%d entries after %v", len(batch.Entries), info.Tail)
}
