package middleware

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/scope"
)

// maxCommand bounds a command's body in bytes: 16 names and tokens of the
// greatest length, percent-encoded, fit.
const maxCommand = 16 << 10

// refusal is how a command is refused: {"error": …, "expected": …}.
type refusal struct {
	Error    string `json:"error"`
	Expected uint64 `json:"expected,omitempty"`
}

// command answers a POST to an event stream's address: a command to it.
func (m *comet) command(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, notStored)
	if !m.origins.mayCommand(c) {
		return refuse(c, fiber.StatusForbidden, refusal{Error: "commands of pages of other origins are refused " +
			"unless Config.Origins names the origin"})
	}
	form, err := commandForm(c)
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

var errTooLarge = fmt.Errorf("a command's body is at most %d bytes", maxCommand)

// commandForm reads the body as a form, whatever it claims to be: fetch calls a
// string text/plain.
func commandForm(c *fiber.Ctx) (map[string][]string, error) {
	if strings.HasPrefix(c.Get(fiber.HeaderContentType), fiber.MIMEMultipartForm) {
		return nil, errors.New("a command is written as a query, pull=unread&n=2, " +
			"and not as multipart/form-data: send new URLSearchParams(formData)")
	}
	body, err := commandBody(c)
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
func commandBody(c *fiber.Ctx) (string, error) {
	r := c.Request()
	if r.IsBodyStream() {
		return streamedBody(r.BodyStream())
	}
	if len(r.Body()) > maxCommand {
		return "", errTooLarge
	}
	return string(r.Body()), nil
}

// streamedBody reads some way past the bound, so that most clients who exceed it
// have sent everything and hear the answer instead of a reset connection.
func streamedBody(r io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxCommand+1))
	if err != nil {
		return "", fmt.Errorf("reading the command: %w", err)
	}
	if len(data) > maxCommand {
		_, _ = io.CopyN(io.Discard, r, 16*maxCommand) // whatever it ends with, the command is refused
		return "", errTooLarge
	}
	return string(data), nil
}

// refuseCommand tells why the site refused.
func (m *comet) refuseCommand(c *fiber.Ctx, err error) error {
	var refused *scope.CommandError
	switch {
	case errors.As(err, &refused):
		return refuse(c, commandStatus(refused.Code), refusal{Error: refused.Message, Expected: refused.Expected})
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
	}
	return fiber.StatusBadRequest
}

func refuse(c *fiber.Ctx, status int, r refusal) error {
	return c.Status(status).JSON(r)
}
