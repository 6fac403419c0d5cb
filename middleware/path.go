package middleware

import (
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// standsAt returns the path of the route by which the request came to the
// middleware: "" at the root, else without the final slash. Of a route with
// parameters it is what the request has in their place; a wildcard or an
// optional parameter, and what follows it, is not part of it.
func standsAt(c *fiber.Ctx) string {
	pattern := c.Route().Path
	if !strings.ContainsAny(pattern, ":*+?\\") {
		return strings.TrimRight(pattern, "/")
	}
	return leading(c.Path(), fixedSegments(pattern))
}

// fixedSegments counts the segments of a route that stand for exactly one of a
// path.
func fixedSegments(pattern string) int {
	n := 0
	for segment := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		if segment == "" || strings.ContainsAny(segment, "*+?") {
			break
		}
		n++
	}
	return n
}

// leading returns the first n segments of path.
func leading(path string, n int) string {
	end := 0
	for ; n > 0 && end < len(path); n-- {
		next := strings.IndexByte(path[end+1:], '/')
		if next < 0 {
			end = len(path)
			break
		}
		end += 1 + next
	}
	return path[:end]
}

// escaped percent-encodes what no URL's path contains (RFC 3986, 3.3), and
// leaves what is encoded already. Its result aliases nothing of the request.
func escaped(path string) string {
	var b strings.Builder
	for _, char := range []byte(path) {
		if char <= ' ' || char >= 0x7f || strings.IndexByte("\"<>\\^`{|}?#", char) >= 0 {
			fmt.Fprintf(&b, "%%%02X", char)
			continue
		}
		b.WriteByte(char)
	}
	return b.String()
}

// isEndpoint reports whether the request is for the path of the event stream,
// as the app's own routes would match it.
func isEndpoint(c *fiber.Ctx, prefix, path string) bool {
	asked := c.Path()
	slashed := len(asked) == len(prefix)+len(path)+1 && asked[len(asked)-1] == '/'
	if slashed {
		asked = asked[:len(asked)-1]
	}
	if len(asked) != len(prefix)+len(path) || !strings.EqualFold(asked[len(prefix):], path) ||
		!strings.EqualFold(asked[:len(prefix)], prefix) {
		return false
	}
	app := c.App().Config()
	return (!slashed || !app.StrictRouting) && (!app.CaseSensitive || asked[len(prefix):] == path)
}
