package middleware_test

import (
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// Wherever the middleware stands, the address that Open gives is where the
// event stream is.
func TestWhereItStands(t *testing.T) {
	for _, test := range []struct {
		name    string
		config  fiber.Config
		put     func(app *fiber.App, comet, page fiber.Handler)
		page    string
		address string
	}{
		{name: "root", page: "/", address: "/comet",
			put: func(app *fiber.App, comet, page fiber.Handler) { app.Use(comet); app.Get("/", page) }},
		{name: "prefix", page: "/api/page", address: "/api/comet",
			put: func(app *fiber.App, comet, page fiber.Handler) { app.Use("/api", comet); app.Get("/api/page", page) }},
		{name: "prefix with slash", page: "/api/page", address: "/api/comet",
			put: func(app *fiber.App, comet, page fiber.Handler) { app.Use("/api/", comet); app.Get("/api/page", page) }},
		{name: "group", page: "/api/page", address: "/api/comet",
			put: func(app *fiber.App, comet, page fiber.Handler) { app.Group("/api", comet).Get("/page", page) }},
		{name: "group use", page: "/a/b/page", address: "/a/b/comet",
			put: func(app *fiber.App, comet, page fiber.Handler) {
				g := app.Group("/a").Group("/b")
				g.Use(comet)
				g.Get("/page", page)
			}},
		{name: "mount", page: "/sub/", address: "/sub/comet",
			put: func(app *fiber.App, comet, page fiber.Handler) {
				sub := newApp()
				sub.Use(comet)
				sub.Get("/", page)
				app.Mount("/sub", sub)
			}},
		{name: "mount in a mount in a group", page: "/g/sub/deep/x/page", address: "/g/sub/deep/x/comet",
			put: func(app *fiber.App, comet, page fiber.Handler) {
				deep := newApp()
				deep.Group("/x", comet).Get("/page", page)
				sub := newApp()
				sub.Mount("/deep", deep)
				app.Group("/g").Mount("/sub", sub)
			}},
		{name: "parameters", page: "/tenants/42/page", address: "/tenants/42/comet",
			put: func(app *fiber.App, comet, page fiber.Handler) {
				app.Group("/tenants/:id<int>", comet).Get("/page", page)
			}},
		{name: "parameters to be escaped", page: "/t/a%22%3Cb/page", address: "/t/a%22%3Cb/comet",
			config: fiber.Config{UnescapePath: true},
			put: func(app *fiber.App, comet, page fiber.Handler) {
				app.Group("/t/:id", comet).Get("/page", page)
			}},
		{name: "wildcard", page: "/any/page", address: "/any/comet",
			put: func(app *fiber.App, comet, page fiber.Handler) { app.Use("/any/*", comet); app.Get("/any/page", page) }},
		{name: "upper case", page: "/API/page", address: "/api/COMET",
			put: func(app *fiber.App, comet, page fiber.Handler) { app.Group("/api", comet).Get("/page", page) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			site := newSite(t)
			chat, put := channelOf(t, site, "chat")
			app := newApp(test.config)
			config := middleware.Config{Site: site}
			if strings.HasSuffix(test.address, "/COMET") {
				config.Path = "/COMET"
			}
			test.put(app, middleware.New(config), openPage(chat))
			b := serve(t, app)
			address := b.get(test.page).Body
			if path, _, _ := strings.Cut(address, "?"); path != test.address {
				t.Fatalf("Open gave %s, want the path %s", address, test.address)
			}
			put("heard")
			b.Listen(address).Expect("chat", "heard")
		})
	}
}

// openPage is a handler that answers with the address of its stream.
func openPage(refs ...scope.Ref) fiber.Handler {
	return func(c *fiber.Ctx) error {
		address, err := middleware.Open(c, refs...)
		if err != nil {
			return err
		}
		return c.SendString(address)
	}
}

// The endpoint matches as the app's own routes do.
func TestEndpointMatchesAsRoutesDo(t *testing.T) {
	for _, test := range []struct {
		config fiber.Config
		path   string
		found  bool
	}{
		{fiber.Config{}, "/api/comet", true},
		{fiber.Config{}, "/api/comet/", true},
		{fiber.Config{}, "/API/Comet", true},
		{fiber.Config{StrictRouting: true}, "/api/comet", true},
		{fiber.Config{StrictRouting: true}, "/api/comet/", false},
		{fiber.Config{CaseSensitive: true}, "/api/comet", true},
		{fiber.Config{CaseSensitive: true}, "/api/COMET", false},
		{fiber.Config{}, "/api/comets", false},
		{fiber.Config{}, "/api/comet/x", false},
		{fiber.Config{}, "/comet", false},
		{fiber.Config{}, "/apicomet", false},
	} {
		app := newApp(test.config)
		app.Use("/api", middleware.New(middleware.Config{Site: newSite(t)}))
		a := serve(t, app).Do("HEAD", test.path, "")
		if found := a.Status == 200; found != test.found {
			t.Errorf("%+v %s: found %v, want %v", test.config, test.path, found, test.found)
		}
	}
}

// Behind a proxy that takes a prefix away the browser asks for PublicPath.
func TestPublicPath(t *testing.T) {
	site := newSite(t)
	chat, put := channelOf(t, site, "chat")
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site, PublicPath: "/shop/events"}))
	app.Get("/", openPage(chat))
	b := serve(t, app)
	address := b.get("/").Body
	query, ok := strings.CutPrefix(address, "/shop/events?")
	if !ok {
		t.Fatalf("Open gave %s, want PublicPath", address)
	}
	put("heard")
	b.Listen("/comet?"+query).Expect("chat", "heard") // as the proxy would ask
}

// PublicPath counts against the budget of the address.
func TestLongPublicPathIsRefusedByOpen(t *testing.T) {
	site := newSite(t)
	chat, _ := channelOf(t, site, "chat")
	app := newApp(fiber.Config{ErrorHandler: tellError})
	app.Use(middleware.New(middleware.Config{Site: site, PublicPath: "/" + strings.Repeat("x", 2500)}))
	app.Get("/", openPage(chat))
	if a := serve(t, app).Do("GET", "/", ""); !strings.Contains(a.Body, scope.ErrTooLong.Error()) {
		t.Errorf("Open said %s", a.Body)
	}
}

// tellError is an ErrorHandler that tells.
func tellError(c *fiber.Ctx, err error) error { return c.Status(500).SendString(err.Error()) }
