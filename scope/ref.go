package scope

import (
	"github.com/ocsigo/comet/engine"
)

// A Ref says which channel a page is to hear, and from where. A *Handle is one,
// and so are what its methods and External return; nobody else can make one.
// What it says is sampled once, by Site.Link.
type Ref interface {
	ref() ref
}

// beginning tells where hearing begins.
type beginning uint8

const (
	fromNow beginning = iota // a newest channel: with its value
	fromHistory
	fromPosition
)

type ref struct {
	handle   *Handle
	begins   beginning
	history  int
	at       engine.Position
	external *external
	fault    error
}

type external struct {
	url, name string
	history   int
	newest    bool
}

func (r ref) ref() ref { return r }

func (h *Handle) ref() ref { return ref{handle: h} }

// History returns a Ref that begins before the newest n values kept: exactly n
// of them are heard, or all there are. Only site channels have it.
func (h *Handle) History(n int) Ref {
	return ref{handle: h, begins: fromHistory, history: n}
}

// After returns a Ref that begins after a position, which Recent gave. Only site
// channels have it.
func (h *Handle) After(at engine.Position) Ref {
	return ref{handle: h, begins: fromPosition, at: at}
}

// External returns a Ref to a site channel of another instance, whose event
// streams are at url. Its last history values are heard first, or with newest
// the last one. The page's browser connects there by itself; nobody samples
// anything now. Its faults are told by Site.Link.
func External(url, name string, history int, newest bool) Ref {
	return ref{external: &external{url: url, name: name, history: history, newest: newest}}
}

// Faulty returns a Ref that Site.Link refuses with err: for whoever makes Refs in
// an expression and finds that one cannot be made.
func Faulty(err error) Ref { return ref{fault: err} }
