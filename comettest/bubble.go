package comettest

import (
	"net/http"
	"net/http/httptest"
	"testing/synctest"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/gofiber/storage/memory/v2"
)

// init starts the clocks that Fiber, its storage and fasthttp keep, one each for
// the process and for good. Started within a bubble they would belong to it, and
// it could not end.
func init() {
	utils.StartTimeStampUpdater()
	_ = memory.New().Close()
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	answer, err := app.Test(httptest.NewRequest(http.MethodGet, "/", nil))
	if err == nil {
		_ = answer.Body.Close()
	}
}

// inBubble tells whether the calling goroutine runs in a bubble of
// testing/synctest, which has no other way to ask: Wait panics outside of one.
func inBubble() (in bool) {
	defer func() { in = recover() == nil }()
	synctest.Wait()
	return true
}
