package redis_test

import (
	"context"
	"fmt"
	"log"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/redis"
)

// The client is the app's: its session store may have the same.
func Example() {
	ctx := context.Background()
	client := goredis.NewUniversalClient(&goredis.UniversalOptions{Addrs: []string{"localhost:6379"}})
	defer client.Close()

	e, err := redis.New(ctx, client, redis.Config{Namespace: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close(ctx)

	// site := comet.NewSite(comet.SiteConfig{Engine: e}) is all that an app does.
	chat := engine.Name{Channel: "chat"}
	if _, err := e.Ensure(ctx, chat, engine.Spec{Size: 100}); err != nil {
		log.Fatal(err)
	}
	positions, err := e.Append(ctx, chat, engine.Item{Data: []byte("hello")})
	fmt.Println(positions, err)
}
