// Chat is one room in as many tabs as you like: the smallest program that uses most of Comet.
//
//	go run ./examples/chat [-addr 127.0.0.1:3000]
//
// What to look at, a file each:
//
//   - chat.go: the room. A site channel with a history, a sender in front of it, three handlers.
//   - tabs.go: who is here, from the coming and going of each tab's client process, as a newest channel.
//   - cut.go: a server that hangs up on one tab, so that you can watch it catch up.
//   - index.html: the page. A plain EventSource, no library, no build step.
//
// A message is posted with an ordinary form, so that curl can speak too:
//
//	curl -d text=hello http://127.0.0.1:3000/messages
package main
