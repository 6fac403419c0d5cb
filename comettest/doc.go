// Package comettest tests apps that use Comet: it serves the app in memory, and
// has browsers with tabs that connect, hear, send, break off, come back and sleep,
// in fake time if the test wants that. It is to Comet what net/http/httptest is to
// handlers.
//
//	func TestMissedInTheTunnel(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) { // fake time: no test waits
//			app, site := newChat(t) // as main makes it
//			browser := comettest.Serve(t, app, site).Browser()
//
//			tab := browser.Open("/") // a person opens the page
//			tab.Connect(tab.Page.Find(`<meta name="comet" content="([^"]*)">`))
//
//			browser.Post("/messages", url.Values{"text": {"hello"}}).Want(200)
//			if m := comettest.Next[Message](tab, "chat"); m.Text != "hello" {
//				t.Errorf("heard %q", m.Text)
//			}
//			tab.Cut() // the train enters a tunnel
//			browser.Post("/messages", url.Values{"text": {"missed"}}).Want(200)
//			// The tab comes back by itself, when the server's retry has passed.
//			if m := comettest.Next[Message](tab, "chat"); m.Text != "missed" {
//				t.Errorf("heard %q", m.Text)
//			}
//			tab.Idle(9 * time.Hour) // the computer is shut, and opened in the morning
//			tab.Nothing()           // nobody said anything
//		})
//	}
//
// # The clock
//
// The kit works within a bubble of testing/synctest and outside of one.
//
// In a bubble everything is part of it: the app, its Sites and its channels are
// made there too, and an engine or a store that is reached by a socket cannot be
// (use engine/memory). Waiting costs nothing, Tab.Nothing is exact, and a
// goroutine that outlives the test is a failure of the bubble's own. Some clocks
// stay real: gofiber/storage/memory, where Comet keeps its sessions unless
// Config.Storage says otherwise, counts their expiry by one of its own, and so do
// Fiber's limiter and cache, and fasthttp its Date header. Importing the package
// starts these, a goroutine each, outside of all bubbles.
//
// Outside of a bubble what is waited for comes when it comes, up to a minute, and
// Serve looks for goroutines that the app has left. There tests may be parallel.
//
// # A tab
//
// is an EventSource as the HTML standard has it (section 9.2): it keeps the last
// event's id and the retry time, comes back after a cut and after the end of an
// answer with Last-Event-ID, follows redirects, and is closed for good by 204 and by any other
// answer that is not an event stream. Its requests say what a browser's would:
// Accept, Cache-Control, Sec-Fetch-Mode and its like, Origin, and the cookies of
// its Browser; those that the page's scripts make say Comet-Process too.
//
// # What it is not
//
// A browser. No script is run, and so no comet.js: nothing is repeated, shared
// between tabs, or asked for, that the test does not. An event stream of another
// origin is asked for without cookies, and heard only if it allows the page's
// origin, as EventSource has it; whatever else SameSite and CORS forbid is for a
// browser to hold. Six connections an origin, the back-forward cache and timers
// that a browser slows down are not there.
//
// A connection in memory has no buffers: the server's write waits for the tab
// from its first byte, and a peer that vanished without a word is not to be
// had. Comet writes to it as it does to TLS connections; ServeTCP has the way to
// bare sockets.
//
// A test that fails says what was due, what came instead, and what the tab
// saw: requests, answers, events and their times, and the last of its bytes.
package comettest
