package middleware

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
)

// origins are the other origins whose pages may use the endpoint, each mapped
// to itself so that the answer never repeats the request's own text.
type origins map[string]string

func newOrigins(list []string) origins {
	o := make(origins, len(list))
	for _, origin := range list {
		o[origin] = origin
	}
	return o
}

func checkOrigins(list []string) error {
	var faults []error
	for _, origin := range list {
		if !validOrigin(origin) {
			faults = append(faults, fmt.Errorf("bad Origins %q: write every origin exactly as a browser does, such as "+
				"\"https://app.example.com\": scheme http or https, lower case, no path, no default port, no *", origin))
		}
	}
	return errors.Join(faults...)
}

// validOrigin reports whether a browser could send s: RFC 6454, section 6.2.
func validOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" || strings.Contains(s, "*") {
		return false
	}
	switch {
	case u.Scheme == "http" && u.Port() != "80":
	case u.Scheme == "https" && u.Port() != "443":
	default:
		return false
	}
	return s == u.Scheme+"://"+u.Host && s == strings.ToLower(s) && !strings.HasSuffix(s, ":")
}

// share answers a request of one of the origins so that its page may read the
// response. To any other origin nothing is said, which is a refusal.
func (o origins) share(c *fiber.Ctx) {
	if len(o) == 0 {
		return
	}
	c.Vary(fiber.HeaderOrigin)
	if origin, ok := o[c.Get(fiber.HeaderOrigin)]; ok {
		c.Set(fiber.HeaderAccessControlAllowOrigin, origin)
		c.Set(fiber.HeaderAccessControlAllowCredentials, "true")
	}
}

// preflight answers a browser that asks before it sends (Fetch, 4.8).
func (o origins) preflight(c *fiber.Ctx) error {
	c.Set(fiber.HeaderAllow, endpointMethods)
	if _, ok := o[c.Get(fiber.HeaderOrigin)]; ok {
		c.Set(fiber.HeaderAccessControlAllowMethods, "GET, POST")
		c.Set(fiber.HeaderAccessControlAllowHeaders, "Comet-Process, Content-Type, Last-Event-ID")
		c.Set(fiber.HeaderAccessControlMaxAge, "600")
	}
	c.Status(fiber.StatusNoContent)
	return nil
}

// trusts reports whether a request comes from a page of this origin, of one of the
// origins, or from no page at all: no other may use the credentials that come with
// it. A browser says so itself where it sends Sec-Fetch-Site; older ones send an
// Origin with every POST and whatever crosses origins, and what sends neither is no
// browser and has no cookies to lend.
func (o origins) trusts(c *fiber.Ctx) bool {
	origin := c.Get(fiber.HeaderOrigin)
	if _, ok := o[origin]; ok {
		return true
	}
	switch c.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		return origin == "" || ofHost(origin, c.Hostname()) || ofHost(origin, string(c.Request().Host()))
	}
	return false
}

// ofHost compares without the scheme: a proxy may have taken TLS off.
func ofHost(origin, host string) bool {
	_, of, ok := strings.Cut(origin, "://")
	return ok && utils.EqualFold(of, host)
}
