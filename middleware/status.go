package middleware

import (
	"errors"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/scope"
)

// A statusError is an error that tells Fiber's ErrorHandler its status, where the
// handler simply returns it.
type statusError struct {
	error
	status *fiber.Error
}

// Unwrap gives errors.Is the cause and errors.As the *fiber.Error.
func (e statusError) Unwrap() []error { return []error{e.error, e.status} }

// withStatus adds the status of what a request may do wrong, or must wait for.
func withStatus(err error) error {
	switch {
	case errors.Is(err, scope.ErrNoProcess):
		return statusError{err, fiber.NewError(fiber.StatusBadRequest, err.Error())}
	case errors.Is(err, scope.ErrElsewhere):
		return statusError{err, fiber.NewError(fiber.StatusMisdirectedRequest, err.Error())}
	case errors.Is(err, scope.ErrTooMany), errors.Is(err, scope.ErrShutdown), errors.Is(err, engine.ErrUnavailable):
		return statusError{err, fiber.NewError(fiber.StatusServiceUnavailable, err.Error())}
	}
	return err
}
