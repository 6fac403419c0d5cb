package embedded_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/nats/embedded"
)

// A process whose logs survive its restarts, with nothing installed beside it. An app
// gives the engine to comet.SiteConfig.Engine.
func ExampleStart() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "comet-example-") // an app keeps it
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	name := engine.Name{Channel: "news"}

	var position engine.Position
	for run := range 2 { // the same directory is the same log
		server, err := embedded.Start(ctx, embedded.Config{Dir: dir})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer server.Stop()
		log, err := server.Engine(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		info, err := log.Ensure(ctx, name, engine.Spec{Size: 100})
		if err != nil {
			fmt.Println(err)
			return
		}
		if run == 0 {
			position = info.Tail
			_, err = log.Append(ctx, name, engine.Item{ID: "story-1", Data: []byte("it stays")})
		} else {
			var batch engine.Batch
			batch, err = log.Read(ctx, name, position, 0)
			for _, entry := range batch.Entries {
				fmt.Println(string(entry.Data))
			}
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = log.Close(ctx)
		server.Stop()
	}
	// Output: it stays
}
