// Package channel is what is said: values of a Go type, from a source to the
// pages that hear it.
//
// A [Stream] is where values come from. A constructor claims it, once, for a
// channel:
//
//	                  who hears            what is kept             over that
//	Create            all, in a Site       the last Size values     a slow reader: full, and goes on
//	Create            a tab, in a process  Size values to be sent   the channel: full, the end
//	CreateNewest      all, in a Site       the newest value         a newer one replaces it
//	CreateUnlimited   a tab, in a process  nothing: read when asked a tab far behind: full, the end
//	External          all, elsewhere       what it keeps there      as it is there
//	CreateDuplex      as Create, and who hears it may send to it
//	CreateSignal      as CreateNewest, or a tab; it always has a value
//
// An unlimited channel is read when its tab connects, comes back or asks; what
// it keeps is for a tab that lost the answer. A page is told of all that is over
// by events: comet:full, comet:end, comet:closed, comet:gone.
//
// The channel is a [scope.Ref]: given to comet.Open, a page hears it from then
// on. [Channel.History] and [Channel.After] are Refs that begin earlier,
// [External] is one of another instance's channel, [Find] gets hold of a
// channel by name. These are Eliom's Eliom_comet.Channel functions, with its
// illegal scopes as types: what a *scope.Site cannot have does not compile.
//
// # A whole example
//
// A chat for everybody, and in each tab the progress of a job of its own:
//
//	site := comet.NewSite()
//	app.Use(comet.New(comet.Config{Site: site}))
//
//	posts, said := channel.Push[Message]()
//	chat, err := channel.Create(site, said, channel.Config{Name: "chat", Size: 100})
//	…
//	app.Get("/", func(c *fiber.Ctx) error {
//		tab, err := comet.ClientProcess(c) // before Open
//		if err != nil {
//			return err
//		}
//		steps := make(chan string)
//		job, err := channel.Create(tab, channel.FromChan(steps), channel.Config{Name: "job", Encoding: channel.Text})
//		if err != nil {
//			return err
//		}
//		go work(steps, job.Done()) // until it closes steps, or Done tells that nobody listens
//		url, err := comet.Open(c, chat.History(50), job)
//		if err != nil {
//			return err
//		}
//		return page(c, url)
//	})
//	app.Post("/messages", func(c *fiber.Ctx) error {
//		return posts.Send(c.UserContext(), Message{Text: c.FormValue("text")})
//	})
//
// and in the page
//
//	const source = new EventSource(url);
//	source.addEventListener("chat", e => show(JSON.parse(e.data)));
//	source.addEventListener("job", e => progress(e.data));
//	source.addEventListener("comet:end", e => done(JSON.parse(e.data).channel));
//
// # Streams
//
// [From], [FromChan] and [FromSeq] make streams that are read: for Create and
// CreateNewest by the channel's one goroutine, as fast as values come; for
// CreateUnlimited when the tab asks, one value for each question. [Push] makes
// a stream that is sent to, and needs no goroutine. [Stream.Clone] makes two
// heads of one.
//
// # Guarantees
//
//  1. A stream feeds one channel. A second use is ErrReused, before anything is
//     read. A constructor that returns an error has neither read nor claimed
//     its stream.
//  2. Values reach the channel in the order of the source, or of each sending
//     goroutine; none is skipped, and none is there twice. What a channel then
//     keeps of them is in the table above; what a reader misses is named to it.
//  3. A value is marshalled once for each encoding, however many readers and
//     clones there are, and before Send returns: nothing that a caller passes
//     in is kept, neither values nor names, so that Fiber's reused buffers do
//     no harm.
//  4. A source is read by one goroutine at a time, never before its channel has
//     a use for the value, never ahead of an unlimited channel's tab, and never
//     again after its end.
//  5. The source's context ends with the channel, whatever ends that, and
//     context.Cause tells why. It carries no values of a request. A pull that
//     is interrupted loses no value.
//  6. io.EOF ends the channel in good order: what is kept is heard first. Any
//     other error, a panic of the source or while marshalling, or
//     runtime.Goexit, ends it as a failure. It ends that channel only, its
//     readers are told, and Err says why, with the channel's name.
//  7. What waits in front of a clone's head or an unlimited channel is bounded,
//     in values and bytes ([StreamConfig]). Over the bound a clone's head ends
//     with ErrFull, its siblings go on; a sender to an unlimited channel is
//     told ErrFull, and goes on.
//  8. Goroutines: one for each read stream under Create and CreateNewest, one
//     for each FromSeq that has been asked; an unlimited channel is read on its
//     process's. All end with their channel. Memory does not depend on how many
//     values have passed.
//  9. A site's channel that nobody holds is collected, as if closed. It is held
//     by its Channel, by attached readers and, if it has a name, by its running
//     stream or its Sender. Its source is then stopped as in 5.
//
// More plainly: give each channel its own stream. Do not worry about slow
// pages, or about closing what a tab leaves behind. Watch the context in a
// source that waits. Check what Send returns: with ErrClosed in it, stop
// sending; without, that one value was not taken. A name makes a channel
// public, and keeps it alive while its source runs.
//
// # What tabs send
//
// [Receive] opens an inbox: a tab sends values to it by a command, checked, at a
// bounded rate, in the tab's order and, if it numbers them, once each; the program
// reads them with Next or All. [CreateDuplex] says them in a channel. What tabs
// send is never what it should be: validate it, and take who it is from
// [Received], never from the value.
//
// # What other instances say
//
// [External] has a page hear another instance by itself. [Follow] reads another
// instance's channel in Go, where both share an engine: value by value with its
// position, in a loop, or as the stream of a channel here.
//
// # Encodings
//
// An [Encoding] is not generic: [JSON], the default, [Text], [HTML], or a
// program's own. That a type cannot be carried at all is told by the
// constructor, and of a single value by Send; from a source it is the failure
// of 6.
//
// Everything here is safe for concurrent use. Nothing here is an io.Closer:
// fasthttp closes those that it finds in a request's Locals.
package channel
