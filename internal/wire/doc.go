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
// On Linux, for bare TCP and unix sockets. The request is hijacked, and the
// socket's descriptor duplicated; the server closes its own copy and forgets the
// connection. What is left of an idle event stream is a struct of some hundred
// bytes: no goroutine, no buffer, no timer.
//
//   - All sockets are in one epoll set, which one goroutine watches through Go's
//     own poller. A peer that leaves is heard from the kernel, at once and
//     without a write.
//   - Streams that have something to say stand in queues, one for each processor,
//     and a worker a queue gives each its turn: Collect, one send of everything
//     that came of it, Collect again. After four batches others go first. There
//     are workers only while there is something to do.
//   - What the kernel does not take, at most one batch, stays with the stream
//     until it does; meanwhile Collect is not called. WriteTimeout and the wait
//     after a clean end are up to 100 ms late.
//   - A send never waits, and no lock is held during one.
//   - Where no descriptor is to be had the stream is parked.
//
// The epoll set, its goroutine and the workers are the package's: they come with
// the first event stream of the process and go with the last. Descriptors are
// numbers that the kernel reuses, so everything that touches one is in
// descriptor_linux.go, which argues that none is used too late.
//
// # Parked
//
// For every other connection that is a socket or may be one: TLS, wrapped and
// unknown types, a server's limit per address, other systems. The request is
// hijacked and answered by this package. One goroutine per connection is parked
// in Read, to hear the peer leave; while something is pending a second one
// collects and writes, and goes away when nothing is left. An idle event stream
// keeps no buffer of this package.
//
// # Takeover and parked
//
//   - A peer that closes its sending side only (half-close) counts as gone, as in
//     net/http. One that vanishes without a word is found by PeerTimeout.
//   - A batch is one write, with WriteTimeout for each; the server's read, write
//     and idle timeouts do not apply.
//   - Middlewares see an empty body: there is nothing for them to wait on.
//   - The server's Shutdown neither waits for the stream nor ends it, and its
//     Concurrency does not count it. Both are for the source's owner to do.
//   - The response is the connection's last, also where the server is told to
//     keep hijacked connections (KeepHijackedConns).
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
// sends after its request is thrown away, and beyond 4 KiB so is the peer; by
// takeover, what the server had read ahead of that does not count.
//
// # Compression
//
// Where [Options.Compression] offers codings, and the request's Accept-Encoding
// takes one, the stream is written in it: what many event streams say is
// compressed once for all (see [sse.Compressor]), and what is a stream's own by
// the worker that writes it. An idle event stream has no more of it than an
// [sse.Encoder] of some 24 bytes. The coding is told in Content-Encoding and Vary when
// the headers are written: so a response that took the event stream's place does
// not claim it, and one that a middleware encoded is left alone. (Streamed tells
// it in Serve, and takes it back.)
//
// # What fasthttp is relied on for
//
// That a hijack handler runs after the handler chain and owns the RequestCtx
// until it returns; that ctx.Conn is the connection itself, of the type that the
// listener gave; that fasthttp closes it when, and only when, the handler
// returned, and does nothing else to it: no shutdown(2), so that the duplicate
// lives; that closing what the handler was given closes where fasthttp would
// not, and nowhere else; that reading the hijacked connection gives what was
// buffered first; that a body stream is read after the chain and closed exactly
// once, and the values of a request when it is over. Each is pinned by a test,
// for none of it is fasthttp's documented promise. The tests run with the oldest
// fasthttp that the module allows, and by newest.sh with the newest that is known
// to do.
package wire
