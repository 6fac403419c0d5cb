package middleware

import (
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/ocsigo/comet/client"
	"github.com/ocsigo/comet/scope"
)

// Script returns the path of comet.js for a page to import: of the innermost
// Comet, or of the one whose site is named. It has a name that changes with the
// file, so browsers keep it for good; the name without it, /comet/comet.js, is
// asked for anew each time and answered 304.
//
// The error is ErrNotInstalled.
func Script(c *fiber.Ctx, site ...*scope.Site) (string, error) {
	r, err := of(c, site)
	if err != nil {
		return "", err
	}
	return r.path() + "/" + client.Version() + "/comet.js", nil
}

// asset returns the file of package client that the request is for, below the
// endpoint's path: by its name, or by a version and its name, and then the file
// may be kept if the version is this one.
func asset(c *fiber.Ctx, prefix, path string) (file client.File, kept, ok bool) {
	asked, endpoint := c.Path(), len(prefix)+len(path)
	if len(asked) <= endpoint+1 || asked[endpoint] != '/' || !utils.EqualFold(asked[:endpoint], prefix+path) {
		return client.File{}, false, false
	}
	version, name, versioned := strings.Cut(asked[endpoint+1:], "/")
	if !versioned {
		name = version
	}
	file, ok = client.Get(name)
	return file, versioned && version == client.Version(), ok
}

// serveAsset answers with a file. The page that asks for another version gets
// this one, and may not keep it: it was made before the server was renewed.
func (m *comet) serveAsset(c *fiber.Ctx, file client.File, kept bool) error {
	if method := c.Method(); method != fiber.MethodGet && method != fiber.MethodHead {
		c.Set(fiber.HeaderAllow, "GET, HEAD")
		return fiber.ErrMethodNotAllowed
	}
	m.origins.share(c)
	c.Set(fiber.HeaderETag, file.ETag)
	c.Set(fiber.HeaderCacheControl, "no-cache")
	if kept {
		c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	}
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	if strings.Contains(c.Get(fiber.HeaderIfNoneMatch), file.ETag) {
		c.Status(fiber.StatusNotModified)
		return nil
	}
	c.Set(fiber.HeaderContentType, file.Type)
	return c.SendString(file.Body)
}
