// Cluster is three nodes of one app behind one address, and a page that shows which of them it is on and can kill it.
//
//	go run ./examples/cluster [-addr 127.0.0.1:3000] [-again 8s]
//
// The program is the front, and starts itself three times more: each node is a NATS server (embedded, the three are one
// cluster with files in a temporary directory), an engine on it, a Site and a Fiber app. Nothing else has to be installed.
// A node that has ended is started again after -again.
//
// What to look at, a file each:
//
//   - node.go: a whole node, and how SIGTERM ends it. This is what an app of several nodes has.
//   - room.go: the app. A chat, which is a site channel, and a clock of each page, which is private.
//   - front.go: the balancer. It knows nothing of Comet, and needs no sticky sessions.
//   - nodes.go: the processes, and what the front knows of them.
//   - index.html: the page, on comet.js.
package main
