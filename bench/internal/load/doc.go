// Package load is the measuring client: thousands of event streams, read by one
// goroutine over epoll, which parses every byte and checks every delivery.
//
// Each connection must hear each value of its channels exactly once, in order. A
// value that is missing, comes twice or is of another channel, a stream that ends
// and an event that tells of a hole are all faults, and a figure with a fault is
// no figure.
//
// It runs on Linux only.
package load
