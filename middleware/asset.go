package middleware

import (
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/ocsigo/comet/client"
	"github.com/ocsigo/comet/scope"
)

// Scripts returns the directory from which a page imports comet.js,
// comet-shared.js and comet-send.js, with the final slash: of the innermost Comet,
// or of the one whose site is named. Its name changes with the files, so browsers keep them for
// good; by the plain name, /comet/comet.js, a file is asked for anew each time and
// answered 304.
//
// The error is ErrNotInstalled.
func Scripts(c *fiber.Ctx, site ...*scope.Site) (string, error) {
	r, err := of(c, site)
	if err != nil {
		return "", err
	}
	return r.path() + "/" + client.Version() + "/", nil
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
