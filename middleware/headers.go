package middleware

import (
	"math/rand/v2"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/scope"
)

const (
	endpointMethods = "GET, HEAD, POST, OPTIONS"

	// notStored keeps a response out of every cache, the one behind the back
	// button included: a page that returned from there would share its process
	// with the page it once was.
	notStored = "no-store"
)

// streamHeaders says what an event stream is, and to everything on its way that
// it must be neither stored, compressed nor held back. no-store is what the
// HTML standard recommends (9.2); no-transform is heeded by compressing
// proxies, X-Accel-Buffering by nginx.
func streamHeaders(c *fiber.Ctx) {
	c.Status(fiber.StatusOK)
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set(fiber.HeaderCacheControl, "no-cache, no-store, no-transform")
	c.Set("X-Accel-Buffering", "no")
}

// comeAgain answers what is wrong for now. A native EventSource gives up for
// good on anything but a 200 (rule 12), so it gets a stream that ends at once
// and says when to return.
func comeAgain(c *fiber.Ctx, retry time.Duration) error {
	return sendAway(c, retry+rand.N(retry))
}

// sendAway is comeAgain after exactly so long.
func sendAway(c *fiber.Ctx, wait time.Duration) error {
	streamHeaders(c)
	return c.Send(scope.Away(wait))
}

// storedCopy is the body that whatever stores responses finds on an event
// stream's, and would send in its place. The stream itself never contains it:
// the connection is taken over and the body left behind. So a copy is no empty
// answer, but one that makes an EventSource come back and tells a person why.
const storedCopy = "retry: 2000\n" +
	": the event stream itself is not this body. Whoever is sent this got a stored copy:\n" +
	": register comet.New before the middleware that stores it\n\n"
