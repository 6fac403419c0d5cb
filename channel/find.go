package channel

import (
	"errors"
	"fmt"

	"github.com/ocsigo/comet/scope"
)

// FindConfig says what Find cannot know.
type FindConfig struct {
	// Encoding is the channel's. Default: whichever of JSON, Text and HTML it
	// is.
	Encoding Encoding
}

// Find returns another hold on the site's living channel of a name. Errors:
// ErrNotFound, or ErrOtherType where the channel carries other values than T,
// or in an encoding that is not the one asked for.
func Find[T any](site *scope.Site, name string, config ...FindConfig) (*Channel[T], error) {
	c, err := one("Find", config)
	if err == nil {
		err = checkOwner(site)
	}
	if err != nil {
		return nil, err
	}
	encodings := []Encoding{JSON, Text, HTML}
	if c.Encoding != nil {
		encodings = []Encoding{c.Encoding}
	}
	for _, enc := range encodings {
		h, other := scope.Find(site, name, carriedAs[T](enc))
		if other == nil {
			return &Channel[T]{ref: h, handle: h, enc: enc}, nil
		}
		if err == nil {
			err = other
		}
		if !errors.Is(other, ErrOtherType) {
			break
		}
	}
	return nil, fmt.Errorf("channel: Find: %w", err)
}
