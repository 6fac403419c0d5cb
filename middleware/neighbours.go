package middleware

import (
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"
)

// cacheWatch looks for Fiber's cache middleware where it would answer in place
// of Comet or its pages, and says so once. It is the one stock middleware that
// can do harm without a trace; it heeds no header of the response.
type cacheWatch struct {
	log          *slog.Logger
	around, with sync.Once
}

// lookAround looks, at the first request, at what stands before this middleware
// on the way to the endpoint.
func (w *cacheWatch) lookAround(c *fiber.Ctx, prefix, path string) {
	w.around.Do(func() {
		endpoint := prefix + path
		if !cacheBefore(c.App().Stack(), c.Route(), endpoint) {
			return
		}
		w.log.Warn("comet: fiber's cache middleware stands before comet.New and may answer in its place, "+
			"with a stored copy of an empty event stream, or of a page that belongs to somebody else: "+
			"register comet.New first, and give cache a Next that skips the endpoint and every page that uses Comet",
			"endpoint", endpoint)
	})
}

// page looks, on a response that must not be cached, for the mark of a cache
// that stands behind and has stored it.
func (w *cacheWatch) page(c *fiber.Ctx) {
	if string(c.Response().Header.Peek("X-Cache")) != "miss" { // it says unreachable where its Next skips
		return
	}
	w.with.Do(func() {
		w.log.Warn("comet: fiber's cache middleware stored a page that belongs to one client process "+
			"and will hand it to others: give cache a Next that skips it", "route", c.Route().Path)
	})
}

// cacheBefore reports whether a cache handler runs before route's own for
// requests to endpoint.
func cacheBefore(stack [][]*fiber.Route, route *fiber.Route, endpoint string) bool {
	for _, routes := range stack {
		found := false
		for _, r := range routes {
			if !strings.HasPrefix(endpoint, strings.TrimRight(r.Path, "/")) {
				continue
			}
			for _, h := range r.Handlers {
				name := handlerName(h)
				if r == route && strings.Contains(name, "comet).handle") {
					return found
				}
				found = found || strings.Contains(name, "/middleware/cache.New")
			}
		}
	}
	return false
}

func handlerName(h fiber.Handler) string {
	f := runtime.FuncForPC(reflect.ValueOf(h).Pointer())
	if f == nil {
		return ""
	}
	return f.Name()
}
