// Package bench measures Comet: beside what others do, and beside the least that
// the machine can do.
//
// The command table starts every server in a process of its own, puts thousands of
// real connections before it, checks every delivery, and writes README.md. The
// benchmarks of this package are the costs within the process: of publishing, of
// collecting for one event stream, of a heartbeat, of a pull.
//
// This is a module of its own, so that what it compares Comet with is no
// dependency of Comet's.
package bench
