// Package sse writes and reads event streams: the format text/event-stream of
// the HTML standard (WHATWG, section 9.2, Server-sent events). It is bytes
// only: no HTTP, no sockets, no goroutines.
//
// # The format
//
// A stream is UTF-8 text in lines. A line is a field (a name, a colon, one
// optional space, a value), a comment (it starts with a colon), or blank. A
// blank line ends a block, and a block with data is dispatched as one event:
//
//	id: 7
//	event: chat
//	data: {"text":"hello"}
//
// Four fields mean something: id, event (the event's name), data (one line of
// it) and retry (how long a client waits before it reconnects, in
// milliseconds). An id stays in force until another replaces it: it is what a
// client sends back as Last-Event-ID.
//
// # Writing
//
// [Event.AppendText] writes one event. A server with many readers makes each
// event's [Frame] once, shares it among all of them, and collects for each
// reader what is pending in a [Batch], to be written at once; only the id line
// differs from reader to reader. A grown Batch takes events without allocating.
//
// A stream may be compressed as a whole and encoded once all the same: a
// [Compressor] makes of each large frame a block that all its readers share, and
// [Batch.ResetFor] writes a reader's batches in such blocks.
//
// Every line written here ends in LF. An event written here always has a data
// line, empty if the data is, so that it is dispatched: a block with an id
// alone moves the id of some clients (Chromium 156) and not of others
// (Firefox 153).
//
// # No field injection
//
// Nothing given to this package can start a field, an event or a comment that
// the caller did not ask for:
//
//   - Data may be any bytes: each CR, LF or CRLF in it starts a new data line.
//   - An id or a name with CR, LF or NUL, or that is not UTF-8, is refused where
//     there is an error to return (Event.AppendText, NewFrame). In a Batch,
//     which cannot refuse, each CR, LF and NUL becomes U+FFFD: the value stays in
//     its line, is visible there, and equals no id or name without U+FFFD.
//   - Each CR, LF or CRLF in a comment starts a new comment line.
//
// # What the format cannot carry
//
//   - CR and CRLF in data arrive as LF: the format joins data lines with LF.
//   - Bytes that are not UTF-8 arrive as U+FFFD, in browsers and in [Reader].
//     Binary data needs an encoding of its own, such as base64.
//   - NUL in data is written and read as it is. Browsers differ: Chromium
//     delivers U+0000, Firefox drops it.
//   - Blanks around an id do not survive the Last-Event-ID header, and an id
//     goes into a request header, which servers bound: keep it short.
//   - The name "message" is the unnamed event's, and "open" and "error" are
//     events of EventSource itself. Which names are allowed is for the caller.
//
// # Reading
//
// [Read] ranges over a stream's events. [Reader] does the same step by step
// and also tells what a client needs to reconnect: the last event id and the
// reconnection time. Both follow sections 9.2.5 (parsing) and 9.2.6
// (interpretation) to the letter: a leading byte order mark, the three line
// ends, fields without a colon, ids with NUL, unfinished events at the end.
// They see what a browser sees. They bound what one event may hold.
package sse
