// Package around proves what a middleware, or a setting of Fiber's, does to Comet:
// it serves an app with both on a real socket and goes through all that a page
// does. docs/around.md is the table of the proofs, and [Table] holds it to them.
package around
