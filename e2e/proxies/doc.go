// Package proxies hears event streams through nginx, HAProxy and Caddy, with curl and Node's fetch, as they are and compressed.
//
// The tests start the proxies on loopback ports, with configurations that would have them compress and buffer what they may.
// A tool that is missing skips its tests, which say how to get it; COMET_PROXIES=required makes that a failure (Debian:
// apt-get install nginx-light haproxy caddy curl nodejs).
package proxies
