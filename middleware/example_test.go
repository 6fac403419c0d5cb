package middleware_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/session"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// show prints what app answers to a navigation.
func show(app *fiber.App, method, path string) {
	resp, err := app.Test(httptest.NewRequest(method, path, nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(body))
}

// The address of a page that hears one site channel.
func ExampleOpen() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())
	news, err := scope.Register(site, scope.Spec{Name: "news"}) // an app uses package channel
	if err != nil {
		fmt.Println(err)
		return
	}
	app := fiber.New()
	app.Use(middleware.New(middleware.Config{Site: site}))
	app.Get("/", func(c *fiber.Ctx) error {
		address, err := middleware.Open(c, news.History(10))
		if err != nil {
			return err
		}
		path, _, _ := strings.Cut(address, "@") // then the position
		return c.SendString(path)
	})
	show(app, "GET", "/")
	// Output: 200 /comet?v=1&c=news
}

// What a page asks for later says which tab it is of.
func ExampleClientProcess() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())
	app := fiber.New()
	app.Use(middleware.New(middleware.Config{Site: site}))
	app.Get("/", func(c *fiber.Ctx) error {
		p, err := middleware.ClientProcess(c) // a navigation: a new tab
		if err != nil {
			return err
		}
		return c.SendString(fmt.Sprint(len(p.Token()) > 0))
	})
	app.Post("/vote", func(c *fiber.Ctx) error {
		p, err := middleware.ClientProcess(c) // by the header Comet-Process or the form field comet
		if err != nil {
			return fiber.NewError(fiber.StatusForbidden, "reload the page")
		}
		return c.SendString(p.Token())
	})
	show(app, "GET", "/")
	fetch := httptest.NewRequest("POST", "/vote", nil)
	fetch.Header.Set("Sec-Fetch-Mode", "cors")
	fetch.Header.Set("Comet-Process", "a-token-of-yesterday")
	resp, err := app.Test(fetch)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(resp.StatusCode)
	// Output:
	// 200 true
	// 403
}

// With the app's own session store, client processes end at logout. The wrong
// order would be the other one: what /logout does to the session would not be
// seen before the next heartbeat.
func ExampleNew_session() {
	store := session.New()
	site := scope.NewSite()
	defer site.Shutdown(context.Background())
	app := fiber.New()
	app.Use(middleware.New(middleware.Config{Site: site, Session: store}))
	app.Post("/logout", func(c *fiber.Ctx) error {
		s, err := store.Get(c)
		if err != nil {
			return err
		}
		if err := s.Destroy(); err != nil {
			return err
		}
		return c.SendString("bye")
	})
	show(app, "POST", "/logout")
	// Output: 200 bye
}

// Without one, the logout is EndSession.
func ExampleEndSession() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())
	app := fiber.New()
	app.Use(middleware.New(middleware.Config{Site: site}))
	app.Post("/logout", func(c *fiber.Ctx) error {
		if err := middleware.EndSession(c); err != nil {
			return err
		}
		return c.SendString("bye")
	})
	show(app, "POST", "/logout")
	// Output: 200 bye
}

// A misconfiguration stops the program as it starts, and says what to do.
func ExampleNew_misconfigured() {
	defer func() { fmt.Println(recover()) }()
	middleware.New(middleware.Config{Origins: []string{"*"}, Path: "comet"})
	// Output:
	// comet.New: bad Path "comet": write a path such as "/comet": it begins with / and does not end with it, without pattern, query or host
	// bad Origins "*": write every origin exactly as a browser does, such as "https://app.example.com": scheme http or https, lower case, no path, no default port, no *
}

// What a load balancer asks: 200 while this process should be sent requests, and 503
// from the first moment of Shutdown.
func ExampleReady() {
	site := scope.NewSite()
	app := fiber.New()
	app.Get("/ready", middleware.Ready(site)) // before what asks for a login
	app.Use(middleware.New(middleware.Config{Site: site}))

	status := func() {
		resp, err := app.Test(httptest.NewRequest("GET", "/ready", nil))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(resp.StatusCode)
	}
	status()
	if err := site.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
	}
	status()
	// Output:
	// 200
	// 503
}

// The command's half is package doctor's Check; a person opens the address in a browser.
func ExampleDoctor() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())
	app := fiber.New()
	app.Use(middleware.New(middleware.Config{Site: site}))
	app.All("/doctor", middleware.Doctor())
	resp, err := app.Test(httptest.NewRequest("GET", "/doctor", nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(resp.StatusCode, resp.Header.Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}
