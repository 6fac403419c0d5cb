// Package wire makes a fasthttp response an event stream: it takes what a
// [Source] has to say and brings it to the peer's socket, until the source ends
// or the peer is gone. It knows bytes, connections and time; not channels,
// processes or HTTP semantics beyond framing.
//
// [Serve] is the whole of it. It is called inside a request handler and returns
// at once; the stream begins when the handlers and middlewares around it have
// returned, with the headers as they left them. There are three ways, chosen by
// the connection, and a source cannot tell them apart but by what is said here.
//
// # Takeover
//
// For bare TCP and unix sockets on Linux. The request is hijacked, answered by
// this package, and the socket's descriptor duplicated; fasthttp then closes its
// copy as that of any connection. What is left of an idle event stream is a small
// struct: no goroutine, no buffer. One epoll set tells of all sockets, and as
// many workers as there are processors collect and write, while there is
// something to; with the last stream the poller ends too.
//
//   - A batch is one sendto, which never blocks. What the kernel does not take is
//     kept, at most one batch, and nothing is collected until it was taken, within
//     WriteTimeout. No stream waits for another.
//   - A peer that leaves is heard by the kernel's word, without a write; one that
//     vanished, within PeerTimeout.
//   - Who may use a descriptor's number, and when it is closed, is decided in one
//     file, descriptor_linux.go: a late write would reach another person's stream.
//   - Otherwise as Parked.
//
// # Parked
//
// For every other connection that is a socket or may be one: TLS, wrapped and
// unknown types, and all sockets on other systems. The request is hijacked and answered by this package. One
// goroutine per connection is parked in Read, to hear the peer leave; while
// something is pending a second one collects and writes, and goes away when
// nothing is left. An idle event stream keeps no buffer of this package.
//
//   - A peer that leaves is heard at once, without a write. A peer that closes
//     its sending side only (half-close) counts as gone, as in net/http.
//   - A batch is one write, under a deadline of its own; the server's read,
//     write and idle timeouts do not apply.
//   - Middlewares see an empty body: there is nothing for them to wait on.
//   - The server's Shutdown neither waits for the stream nor ends it, and its
//     Concurrency does not count it. Both are for the source's owner to do.
//
// # Streamed
//
// For connections that live in memory and in tests only: those of
// fasthttputil.InmemoryListener, which are not made for the two goroutines of
// parked, and the one of Fiber's App.Test, which takes the response from it
// when the handler is done and knows no hijacking. fasthttp writes the response
// and asks this package for its body. No goroutine is added.
//
//   - A peer that leaves is heard when a later write fails, no earlier.
//   - There is no deadline per write; the server's WriteTimeout, one absolute
//     deadline, applies to the stream as a whole.
//   - A middleware that reads the response's body (etag, cache, a logger of
//     bodies) waits for the source to end, as with any body stream.
//   - The server's Shutdown ends the stream, cleanly for the peer: it would
//     wait for it otherwise.
//   - A status other than 200 is sent with the event stream under it, unless
//     the body was replaced too.
//
// To HEAD there is no stream, on any connection: fasthttp sends the headers.
//
// # Framing
//
// To an HTTP/1.1 request the stream is sent with Transfer-Encoding: chunked
// (RFC 9112, section 7.1), one chunk a batch, so that a clean end and a cut
// differ for the peer; to HTTP/1.0 as it is, up to the end of the connection.
// (Streamed is chunked always: fasthttp knows no other.) Either way the
// response says Connection: close and is the connection's last. What the peer
// sends after its request is thrown away, and beyond 4 KiB so is the peer.
//
// # What fasthttp is relied on for
//
// That a hijack handler runs after the handler chain and owns the RequestCtx
// until it returns; that the connection is closed when, and only when, it
// returned; that reading the hijacked connection gives what was buffered first;
// that a body stream is read after the chain and closed exactly once, and the
// values of a request when it is over. Each is pinned by a test, for none of it
// is fasthttp's documented promise.
package wire
