// Package redistest starts real Redis servers for tests: alone, with a replica, as a
// Redis Cluster, and behind a proxy that can be deaf.
//
// The servers are the programs redis-server and redis-cli of the PATH (Debian: apt-get
// install redis-server). They listen on free ports of the loopback interface, work in
// temporary directories, and end with the test, or with its process where the system
// can do that. A missing program skips the test; COMET_REDIS=required makes that a
// failure.
package redistest
