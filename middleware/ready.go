package middleware

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/scope"
)

// ReadyConfig says how Ready answers.
type ReadyConfig struct {
	// Within bounds the question to the engine; no answer is an answer.
	//
	// Optional. Default: 2 s.
	Within time.Duration

	// RetryAfter is what the Retry-After header says, in whole seconds.
	//
	// Optional. Default: 5 s.
	RetryAfter time.Duration

	// Logger hears of the first failure after a success, with its reason, and of
	// the first success after that.
	//
	// Optional. Default: slog.Default().
	Logger *slog.Logger
}

// Ready returns a handler for a load balancer's readiness probe: 200 while the site
// serves and its engine can be reached from here, else 503 with Retry-After. The
// reason is in the log and not in the body, which anybody may read. During Shutdown
// it is 503, so a node that is asked often enough gets no more tabs.
//
// It asks the engine for every request. It panics when there is no site, more than
// one config, or a negative field.
func Ready(site *scope.Site, config ...ReadyConfig) fiber.Handler {
	cfg, err := readyDefault(site, config...)
	if err != nil {
		panic(fmt.Sprintf("comet.Ready: %v", err))
	}
	var unready atomic.Bool
	after := strconv.Itoa(int((cfg.RetryAfter + time.Second - 1) / time.Second))
	return func(c *fiber.Ctx) error {
		ctx, cancel := context.WithTimeout(context.Background(), cfg.Within) // a request's context does not end with it
		defer cancel()
		c.Set(fiber.HeaderCacheControl, notStored)
		if err := site.Health(ctx); err != nil {
			if !unready.Swap(true) {
				cfg.Logger.Warn("comet: this node is not ready", "error", err)
			}
			c.Set(fiber.HeaderRetryAfter, after)
			return c.Status(fiber.StatusServiceUnavailable).SendString("not ready")
		}
		if unready.Swap(false) {
			cfg.Logger.Info("comet: this node is ready again")
		}
		return c.SendString("ready")
	}
}

func readyDefault(site *scope.Site, config ...ReadyConfig) (cfg ReadyConfig, err error) {
	if len(config) > 0 {
		cfg = config[0]
	}
	switch {
	case site == nil:
		return cfg, fmt.Errorf("the site is nil: give it the one of Config.Site")
	case len(config) > 1:
		return cfg, fmt.Errorf("%d ReadyConfigs: put everything into one", len(config))
	case cfg.Within < 0 || cfg.RetryAfter < 0:
		return cfg, fmt.Errorf("a negative field: Within %v, RetryAfter %v; 0 is the default", cfg.Within, cfg.RetryAfter)
	}
	if cfg.Within == 0 {
		cfg.Within = 2 * time.Second
	}
	if cfg.RetryAfter == 0 {
		cfg.RetryAfter = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg, nil
}
