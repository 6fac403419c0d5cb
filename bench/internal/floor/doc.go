// Package floor is the least that a server of event streams can cost here: raw
// epoll loops, as many as there are cores, which send what is pending for a
// connection in one write, and nothing else. It has no sessions, no permissions,
// no limits, no heartbeats and one hard-wired set of channels, and it keeps no
// more of a connection than its descriptor and its place.
//
// What it sends is, byte for byte, what Comet sends to the same reader: headers,
// greeting, ids and chunks. So the difference between the two is the price of
// everything that Comet does besides.
//
// It runs on Linux only.
package floor
