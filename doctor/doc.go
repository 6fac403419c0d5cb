// Package doctor tells whether event streams arrive through all that lies between
// a browser and Comet, and if not, what to change.
//
// The server's side is comet.Doctor. A client, which is [Check] or the page that
// comet.Doctor serves, measures how probes arrive; [Judge] says what that means.
package doctor
