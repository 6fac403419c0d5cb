// Mailcount counts a mailbox's unread mails at the moment a tab asks, and at no other.
//
//	go run ./examples/mailcount [-addr 127.0.0.1:3000] [-every 2s]
//
// What to look at, a file each:
//
//   - mail.go: an unlimited channel private to each tab, in front of a count that is only taken when a tab pulls; and,
//     beside it, a newest channel that pushes how many mails arrived and how often they were counted, and a plain one that
//     pushes each mail.
//   - mailbox.go: the mailbox, to which simulated mails arrive.
//   - index.html: the page, on comet.js, with the three constructors side by side.
//   - native.html: a plain EventSource to hear, an ordinary POST to ask, at /native.
//
// The same two numbers without a page:
//
//	curl http://127.0.0.1:3000/tally
package main
