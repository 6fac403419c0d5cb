package middleware

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/scope"
)

// refusal is how a command is refused: {"error": …}, and what helps to go on.
type refusal struct {
	Error    string `json:"error"`
	Expected uint64 `json:"expected,omitempty"`
	Value    int    `json:"value,omitempty"`   // which of a send's values, from 1
	Taken    int    `json:"taken,omitempty"`   // how many of them were taken
	Retry    int64  `json:"retry,omitempty"`   // milliseconds
	Process  string `json:"process,omitempty"` // that there is none of
}

// command answers a POST to an event stream's address: a command to it.
func (m *comet) command(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, notStored)
	if !m.origins.trusts(c) {
		return refuse(c, fiber.StatusForbidden, refusal{Error: "commands of pages of other origins are refused " +
			"unless Config.Origins names the origin"})
	}
	form, err := commandForm(c, m.site.MaxCommand())
	if err != nil {
		status := fiber.StatusBadRequest
		if errors.Is(err, errTooLarge) {
			status = fiber.StatusRequestEntityTooLarge
			c.Context().SetConnectionClose() // what is left of a streamed body would be the next request
		}
		return refuse(c, status, refusal{Error: err.Error()})
	}
	request, err := m.request(c, true)
	if err != nil {
		return refuse(c, fiber.StatusServiceUnavailable, refusal{Error: "the session cannot be read at the moment: try again"})
	}
	reply, err := m.site.Command(c.UserContext(), request, form)
	if err != nil {
		return m.refuseCommand(c, err)
	}
	return c.JSON(reply)
}

// errTooLarge: the body is over SiteConfig.MaxCommand.
var errTooLarge = errors.New("the command is too large")

func tooLarge(limit int) error {
	return fmt.Errorf("%w: its body is at most %d bytes", errTooLarge, limit)
}

// commandForm reads the body as a form, whatever it claims to be: fetch calls a
// string text/plain.
func commandForm(c *fiber.Ctx, limit int) (map[string][]string, error) {
	if strings.HasPrefix(c.Get(fiber.HeaderContentType), fiber.MIMEMultipartForm) {
		return nil, errors.New("a command is written as a query, pull=unread&n=2, " +
			"and not as multipart/form-data: send new URLSearchParams(formData)")
	}
	body, err := commandBody(c, limit)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(body)
	if err != nil {
		return nil, fmt.Errorf("a command is written as a query, pull=unread&n=2: %w", err)
	}
	return form, nil
}

// commandBody returns the body in memory of its own.
func commandBody(c *fiber.Ctx, limit int) (string, error) {
	r := c.Request()
	if r.IsBodyStream() {
		return streamedBody(r.BodyStream(), limit)
	}
	if len(r.Body()) > limit {
		return "", tooLarge(limit)
	}
	return string(r.Body()), nil
}

// streamedBody reads some way past the bound, so that most clients who exceed it
// have sent everything and hear the answer instead of a reset connection.
func streamedBody(r io.Reader, limit int) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return "", fmt.Errorf("reading the command: %w", err)
	}
	if len(data) > limit {
		_, _ = io.CopyN(io.Discard, r, 16*int64(limit)) // whatever it ends with, the command is refused
		return "", tooLarge(limit)
	}
	return string(data), nil
}

// refuseCommand tells why the site refused.
func (m *comet) refuseCommand(c *fiber.Ctx, err error) error {
	var refused *scope.CommandError
	switch {
	case errors.As(err, &refused):
		if refused.RetryAfter > 0 {
			c.Set(fiber.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(refused.RetryAfter.Seconds()))))
		}
		return refuse(c, commandStatus(refused.Code), refusal{
			Error: refused.Message, Expected: refused.Expected, Value: refused.Value, Taken: refused.Taken,
			Retry: refused.RetryAfter.Milliseconds(), Process: refused.Process,
		})
	case errors.Is(err, scope.ErrShutdown):
		return refuse(c, fiber.StatusServiceUnavailable, refusal{Error: err.Error()})
	}
	m.cfg.Logger.Error("comet: a command failed", "error", err)
	return refuse(c, fiber.StatusInternalServerError, refusal{Error: "the command failed; the server's log says why"})
}

func commandStatus(code string) int {
	switch code {
	case "refused":
		return fiber.StatusForbidden
	case "conflict":
		return fiber.StatusConflict
	case "gone":
		return fiber.StatusGone
	case "busy":
		return fiber.StatusTooManyRequests
	case "full", "away":
		return fiber.StatusServiceUnavailable
	case "large":
		return fiber.StatusRequestEntityTooLarge
	case "invalid":
		return fiber.StatusUnprocessableEntity
	case "failed":
		return fiber.StatusInternalServerError
	}
	return fiber.StatusBadRequest
}

func refuse(c *fiber.Ctx, status int, r refusal) error {
	return c.Status(status).JSON(r)
}
