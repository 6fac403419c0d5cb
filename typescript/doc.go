// Package typescript writes the TypeScript types of what an app's channels carry,
// from the Go types: the Channels interface that comet.js takes.
//
//	//go:generate go run ./internal/types
//
// where that program is
//
//	func main() {
//		f, err := os.Create("web/channels.ts")
//		…
//		err = typescript.Write(f,
//			typescript.Channel[Message]("chat"),
//			typescript.Text("lines"),
//			typescript.Inbox[Draft]("chat"))
//	}
//
// and in the page
//
//	import type { Channels } from "./channels.js";
//	const comet = connect<Channels>(url);
//
// # What is guaranteed
//
// Whatever encoding/json makes of a value of the Go type has the TypeScript type:
// tags, omitempty, omitzero, the option string, embedded and shadowed fields,
// pointers, maps and their keys are taken as encoding/json takes them. What is
// nil in Go and not left out is null. Where Go does not say what JSON comes, the
// type is unknown, which the page must look into: an interface, json.RawMessage,
// a json.Marshaler. A type with the method
//
//	TypeScript() string
//
// says it instead, as a type expression. A type that encoding/json refuses is an
// error with the path to it.
//
// Numbers are number. JSON.parse rounds integers beyond 2^53, which Go's 64-bit
// types can hold: their fields say so in a comment, and the option string in their
// tags makes them string. A time.Time is a string in RFC 3339, a []byte one in
// base64.
//
// The same values give the same text, byte for byte, so that it can be kept and
// compared.
package typescript
