// Package client holds the page's side: comet.js, an ES module without
// dependencies, and its types. Package middleware serves it; README.md says how a
// page uses it.
package client

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"path"
)

//go:embed *.js *.d.ts
var files embed.FS

// A File is one that a page may load.
type File struct {
	Type string // its Content-Type
	Body string
	ETag string // strong (RFC 9110, 8.8.3)
}

var (
	all     = map[string]File{}
	version string
)

func init() {
	entries, err := files.ReadDir(".")
	if err != nil { // they are part of the program
		panic(err)
	}
	whole := sha256.New()
	for _, entry := range entries {
		body, err := files.ReadFile(entry.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(body)
		whole.Write(sum[:])
		all[entry.Name()] = File{Type: typeOf(entry.Name()), Body: string(body), ETag: `"` + short(sum[:]) + `"`}
	}
	version = short(whole.Sum(nil))
}

func short(sum []byte) string { return base64.RawURLEncoding.EncodeToString(sum[:9]) }

func typeOf(name string) string {
	if path.Ext(name) == ".js" {
		return "text/javascript; charset=utf-8"
	}
	return "text/plain; charset=utf-8"
}

// Get returns the file of that name, such as comet.js.
func Get(name string) (File, bool) {
	f, ok := all[name]
	return f, ok
}

// Version names the contents of all files together: the part of a URL that
// changes with them.
func Version() string { return version }
