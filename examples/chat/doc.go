// Chat is one room in as many tabs as you like: the smallest program that uses most of Comet.
//
//	go run ./examples/chat [-addr 127.0.0.1:3000]
//
// What to look at, a file each:
//
//   - chat.go: the room. A duplex channel with a history: tabs send to it and hear it, and the server signs what they say.
//   - tabs.go: who is here, from the coming and going of each tab's client process, as a newest channel.
//   - cut.go: a server that hangs up on one browser, so that you can watch it catch up.
//   - index.html: the page, on comet-shared.js: the tabs of a browser share one event stream.
//   - native.html: the room by a plain EventSource, at /native.
//
// A browser without scripts posts an ordinary form, and so may curl:
//
//	curl -d text=hello http://127.0.0.1:3000/messages
package main
