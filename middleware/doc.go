// Package middleware is where Comet meets HTTP: it tells which session and which
// tab a request is of, serves the event stream with its commands, and keeps
// proxies, caches and other middlewares away from it. What is said is package
// channel's, who may hear it package scope's.
//
//	app.Use(comet.New())                       // or comet.New(comet.Config{Site: site, …})
//	p, err := comet.ClientProcess(c)           // in a handler: the tab this page will be
//	url, err := comet.Open(c, refs...)         // in a handler: for new EventSource(url)
//
// # Where it stands
//
// The endpoint is at Config.Path below where the middleware stands: under
// app.Use at the root, in a Group, under a Mount, also where the route has
// parameters. [Open] knows; a proxy that takes a prefix away is the one thing
// it cannot know, and Config.PublicPath tells it.
//
// Register it before the handlers that use it, before those that log in and out
// when Config.Session is given (see Sessions below), and after recover, logger,
// helmet, cors and what else the stream's response shall carry. The stream begins when all of
// them have returned, with the headers that they left; its body is none of
// their business. In particular:
//
//   - etag, compress, logger with ${resBody}, idempotency, timeout, requestid:
//     work before and after it. The server's ReadTimeout, WriteTimeout and
//     IdleTimeout do not cut an event stream.
//   - cache: never on the endpoint, nor on a page that uses Comet, for it stores
//     without asking the response: register comet.New first, and give cache a
//     Next that skips the pages. A stored copy of a stream tells its reader to
//     come back.
//   - limiter: register it after comet.New. At its 429 an EventSource gives up.
//   - csrf: give it a Next that skips the endpoint. Commands are guarded here,
//     by Sec-Fetch-Site and Origin.
//   - encryptcookie: register it before comet.New.
//   - session-holding middlewares that Save after Next: register them after
//     comet.New, or what they save is saved unseen.
//   - Prefork: only with an engine that processes share. [New] panics otherwise.
//
// All of them are in docs/around.md, a test each. What is seen to do harm is
// named once in the log. [Doctor] tells whether events arrive through the
// proxies before the app.
//
// Several Comets in one app, each with its own Site and Path, nest: [Site],
// [ClientProcess] and [Open] answer for the innermost, or for the site named.
//
// # Sessions
//
// A client process belongs to a session: its token is of no use under another.
//
// Without Config.Session the session is a cookie (HttpOnly, SameSite=Lax, Secure
// when the request came by TLS as Fiber's Ctx.Secure sees it) and a record with
// an expiry. Both come into being with a process: a page that has none, or is
// refused one, sets no cookie. [EndSession] is the logout.
//
// With Config.Session it is the app's session, in which Comet puts one random
// key once there is a process: after the handlers, so that neither their copy
// of the session nor a fresh session's id is disturbed, and never from an event
// stream. The processes follow the key. In the handlers registered after
// comet.New, Regenerate takes them along, Destroy and Reset end them when the
// response goes out, and a key that an older copy of the session overwrote is put
// back. In handlers registered before it any of these ends them within a
// heartbeat, as does a session that vanishes elsewhere: it expires, the store is
// emptied, another server deletes it; while a request of the session is under
// way, which may be about to save it, within three. An event stream does not keep
// a session alive.
//
// A storage that fails is not a logout: until it answers, sessions that are known
// count as alive.
//
// Where Config.Allow says who hears what, the event streams of a session that
// ended end, too, within a heartbeat, and who comes back is asked about anew. That
// takes a session that Comet knows: pages whose channels depend on a login call
// [ClientProcess].
//
// A browser that opens its first two pages at once gets two sessions, of which
// it keeps one: the other page hears gone and reloads. One that refuses cookies
// hears gone once on every page, then 204, which stops its EventSource.
//
// # The endpoint
//
//	GET      the event stream: always 200 and text/event-stream, or 204 when
//	         there is nothing to come back to. Refusals are said within it.
//	HEAD     its headers; nothing is opened
//	POST     a command, to the same URL: attach, detach, register, close, pull,
//	         and for pull n; comet says whose with several processes. The body is
//	         written as a query, whatever its Content-Type, of at most 16 KiB
//	         (docs/commands.md)
//	OPTIONS  the preflight of the pages of Config.Origins
//
// A command is answered in JSON: {"n": …, "state": …}, or {"error": …,
// "expected": …} with status 400 for what cannot be understood, 403 refused, 409
// not now (expected tells the n that would be accepted), 410 gone, 413 too
// large, 429 busy, 503 try again.
package middleware
