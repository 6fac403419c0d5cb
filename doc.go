// Package comet gives Fiber v2 apps typed server push: Go values go in, the
// EventSource of a browser hears them. It carries the Channel of OCaml's
// Eliom_comet over to Go and Server-Sent Events.
//
// This package is the front door: it forwards, and the rooms behind it have
// their own documentation.
//
//   - channel: what is said. Channels of values of a type T, and their sources.
//   - scope: who may hear, how long, from where. Sites, client processes (one
//     tab's page each), and the lifetimes of both.
//   - middleware: where HTTP happens. Config, cookies and sessions, the
//     endpoint, and what to mind about other middlewares.
//   - engine: where a site channel's log is kept.
//   - sse: how an event stream is written.
//   - comettest: tabs for an app's own tests, in fake time where these want it.
//
// # In short
//
//	site := comet.NewSite()
//	app.Use(comet.New(comet.Config{Site: site}))
//
//	posts, stream := channel.Push[Message]()
//	chat, err := channel.Create(site, stream, channel.Config{Name: "chat", Size: 100})
//	app.Get("/", func(c *fiber.Ctx) error {
//		url, err := comet.Open(c, chat.History(50))
//		// … a page with new EventSource(url).addEventListener("chat", …)
//	})
//	app.Post("/messages", func(c *fiber.Ctx) error {
//		return posts.Send(c.UserContext(), Message{Text: c.FormValue("text")})
//	})
//
// A handler whose page has channels of its own calls [ClientProcess] first, makes
// them, and then calls [Open]. [Site] panics where no comet.New stands before the
// route; the others return ErrNotInstalled. ErrNoProcess, ErrElsewhere, ErrTooMany and
// ErrShutdown of ClientProcess may simply be returned by the handler: they carry
// the status 400, 421, 503 and 503 to Fiber's ErrorHandler.
//
// # What is guaranteed
//
// To a reader that reconnects as an EventSource does, for every channel it
// hears:
//
//  1. Values come in the order of their positions, each at most once.
//  2. Nothing is missing between the moment Open sampled the channel and the
//     end of the reading, or an event names the hole: full tells that older
//     values are no longer kept and where it goes on, end that the source ended,
//     closed that the channel is no more, gone that the client process and all
//     its channels are.
//  3. This holds over a cut connection, and over a restart of the server as far
//     as the engine keeps the log: the URL and the id of the last event suffice.
//
// To whoever sends: a slow reader delays neither the sender nor another reader,
// and nothing grows without a bound.
//
// In plain words: a page hears everything, once, in order; and when it cannot,
// it is told so by name. It is never told nothing, and never something wrong.
//
// # More than one process
//
// Processes that share an engine (SiteConfig.Engine: the modules engine/nats and
// engine/redis) and the sessions' storage are the nodes of one app: tabs come to any
// of them, and all of the above holds. A client process lives on the node that made
// it; when that dies, its page hears gone.
//
// # In production
//
// Call the Site's Shutdown before Fiber's: readers are told when to come back, spread
// over SiteConfig.DrainOver. [Listener] is for app.Listener, [Ready] for a balancer,
// [Inspect] for an operator and [Doctor] for whatever lies between; the modules
// metrics/prometheus and metrics/otel show the Site's Stats. docs/production.md has a
// whole app to copy.
//
// # What is not
//
// A value is delivered when the browser has it, and the server does not learn of
// that. Values wait for a page that stays away only within a channel's size.
// And names are public: who knows a site channel's name may hear it, unless
// Config.Allow says no.
package comet
