package middleware_test

import (
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/middleware"
)

// The scripts are where Scripts says, wherever the middleware stands, and may be
// kept for good there; by its plain name it is asked for each time.
func TestScripts(t *testing.T) {
	for name, put := range map[string]func(app *fiber.App, comet, page fiber.Handler){
		"root": func(app *fiber.App, comet, page fiber.Handler) { app.Use(comet); app.Get("/page", page) },
		"group": func(app *fiber.App, comet, page fiber.Handler) {
			app.Group("/page").Use(comet).Get("/", page)
		},
		"mount": func(app *fiber.App, comet, page fiber.Handler) {
			sub := newApp()
			sub.Use(comet)
			sub.Get("/", page)
			app.Mount("/page", sub)
		},
	} {
		app := newApp()
		put(app, middleware.New(middleware.Config{Site: newSite(t)}), func(c *fiber.Ctx) error {
			path, err := middleware.Scripts(c)
			if err != nil {
				return err
			}
			return c.SendString(path + "comet.js")
		})
		b := serve(t, app)
		path := b.get("/page").Body
		kept := b.get(path)
		if kept.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" ||
			kept.Header.Get("Content-Type") != "text/javascript; charset=utf-8" || !strings.Contains(kept.Body, "export function connect") {
			t.Errorf("%s: %s: %d %v", name, path, kept.Status, kept.Header)
		}
		parts := strings.Split(path, "/")
		base := strings.Join(parts[:len(parts)-2], "/")
		asked := b.get(base + "/comet.js")
		tag := asked.Header.Get("ETag")
		if asked.Header.Get("Cache-Control") != "no-cache" || asked.Body != kept.Body || !strings.HasPrefix(tag, `"`) {
			t.Errorf("%s: %s/comet.js: %d %v", name, base, asked.Status, asked.Header)
		}
		for _, field := range []string{tag, "W/" + tag, `"other", ` + tag} {
			if a := b.Do("GET", base+"/comet.js", "", "If-None-Match", field); a.Status != 304 || a.Body != "" || a.Header.Get("ETag") != tag {
				t.Errorf("%s: If-None-Match: %s: %d", name, field, a.Status)
			}
		}
		if a := b.Do("GET", base+"/comet.js", "", "If-None-Match", `"other"`); a.Status != 200 {
			t.Errorf("%s: If-None-Match of another: %d", name, a.Status)
		}
		if a := b.get(base + "/AAAAAAAAAAAA/comet.js"); a.Body != kept.Body || a.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: of another version: %d %v", name, a.Status, a.Header)
		}
		if a := b.Do("HEAD", path, ""); a.Status != 200 || a.Body != "" {
			t.Errorf("%s: HEAD: %d", name, a.Status)
		}
		if a := b.Do("POST", path, ""); a.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: POST: %d %v", name, a.Status, a.Header)
		}
	}
}

// Behind a proxy the page asks for the script below PublicPath. What is not there
// is the app's own to answer.
func TestScriptsPaths(t *testing.T) {
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: newSite(t), PublicPath: "/shop/events"}))
	app.Get("/page", func(c *fiber.Ctx) error {
		path, err := middleware.Scripts(c)
		if err != nil {
			return err
		}
		return c.SendString(path + "comet.js")
	})
	app.Get("/comet/own", func(c *fiber.Ctx) error { return c.SendString("the app's") })
	b := serve(t, app)
	rest, ok := strings.CutPrefix(b.get("/page").Body, "/shop/events/")
	if !ok {
		t.Fatal(b.get("/page").Body)
	}
	if a := b.get("/comet/" + rest); a.Status != 200 { // as the proxy would ask
		t.Errorf("%d", a.Status)
	}
	if a := b.get("/comet/own"); a.Body != "the app's" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
