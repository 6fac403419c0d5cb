package embedded_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/session"

	"github.com/ocsigo/comet/engine/nats"
	"github.com/ocsigo/comet/engine/nats/embedded"
	"github.com/ocsigo/comet/engine/nats/embedded/natstest"
)

var _ fiber.Storage = (*nats.Storage)(nil)

func get(t *testing.T, s *nats.Storage, key string) string {
	t.Helper()
	value, err := s.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(value)
}

func TestStorage(t *testing.T) {
	server := natstest.Single(t)
	e := open(t, server, nats.Config{})
	s, other := e.Storage("sessions"), e.Storage("other")
	set := func(key, value string, expiry time.Duration) {
		t.Helper()
		if err := s.Set(key, []byte(value), expiry); err != nil {
			t.Fatal(err)
		}
	}
	set("a.b *>", "1", 0)
	set("short", "2", time.Second)
	set("renewed", "3", time.Second)
	set("renewed", "4", time.Hour)
	set("", "5", 0)
	if get(t, s, "a.b *>") != "1" || get(t, s, "short") != "2" || get(t, s, "renewed") != "4" || get(t, s, "") != "" || get(t, other, "short") != "" {
		t.Fatal("what was set is not what is got")
	}
	eventually(t, "the short one expires", func() bool { return get(t, s, "short") == "" })
	if get(t, s, "renewed") != "4" || get(t, s, "a.b *>") != "1" {
		t.Fatal("another expired with it")
	}
	if err := s.Delete("renewed"); err != nil || get(t, s, "renewed") != "" {
		t.Fatalf("deleted: %v", err)
	}
	if err := other.Set("k", []byte("v"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Reset(); err != nil || get(t, s, "a.b *>") != "" || get(t, other, "k") != "v" {
		t.Fatalf("reset: %v", err)
	}
}

// What was set or deleted on one node, the next request on any other sees.
func testStorageReadsWhatWasWrittenElsewhere(t *testing.T, servers []*embedded.Server) {
	var stores []*nats.Storage
	for _, s := range servers {
		stores = append(stores, open(t, s, nats.Config{}).Storage(t.Name()))
	}
	var wg sync.WaitGroup
	for key := range 4 {
		wg.Go(func() {
			for i := range 150 {
				k, v := strconv.Itoa(key), strconv.Itoa(i)
				if err := stores[i%3].Set(k, []byte(v), time.Minute); err != nil {
					t.Error(err)
					return
				}
				for _, s := range stores {
					if got, err := s.Get(k); err != nil || string(got) != v {
						t.Errorf("got %q, %v, just set was %q", got, err, v)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// Fiber's session middleware on two apps with one store.
func testSessionsFollowTheUser(t *testing.T, servers []*embedded.Server) {
	var apps []*fiber.App
	for _, s := range servers[:2] {
		store := session.New(session.Config{Storage: open(t, s, nats.Config{}).Storage(t.Name()), Expiration: time.Minute})
		app := fiber.New(fiber.Config{DisableStartupMessage: true})
		app.Get("/", func(c *fiber.Ctx) error {
			sess, err := store.Get(c)
			if err != nil {
				return err
			}
			n, _ := sess.Get("n").(int)
			sess.Set("n", n+1)
			if err := sess.Save(); err != nil {
				return err
			}
			return c.SendString(strconv.Itoa(n + 1))
		})
		app.Get("/logout", func(c *fiber.Ctx) error {
			sess, err := store.Get(c)
			if err != nil {
				return err
			}
			return sess.Destroy()
		})
		apps = append(apps, app)
	}
	var cookie *http.Cookie
	visit := func(i int, path string) string {
		t.Helper()
		req := httptest.NewRequest("GET", path, nil)
		if cookie != nil {
			req.AddCookie(cookie)
		}
		resp, err := apps[i%2].Test(req, 60_000)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if all := resp.Cookies(); len(all) > 0 {
			cookie = all[0]
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for i := range 50 {
		if got := visit(i, "/"); got != fmt.Sprint(i+1) {
			t.Fatalf("visit %d counts %s", i+1, got)
		}
	}
	kept := cookie
	visit(0, "/logout")
	cookie = kept
	if got := visit(1, "/"); got != "1" {
		t.Fatalf("after logout on the other app the session still counts %s", got)
	}
}
