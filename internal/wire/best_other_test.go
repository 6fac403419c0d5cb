//go:build !linux

package wire_test

// best is the way of a bare socket on this system.
var best = parked
