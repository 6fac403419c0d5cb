package typescript_test

import (
	"encoding/json"
	"time"
)

// The types of the golden test: what encoding/json has a rule for.

type message struct {
	ID     int64               `json:"id"`
	Exact  uint64              `json:"exact,string"`
	From   person              `json:"from"`
	Text   string              `json:"text"`
	At     time.Time           `json:"at"`
	Edited *time.Time          `json:"edited,omitempty"`
	Photo  []byte              `json:"photo"`
	Tags   []string            `json:"tags,omitempty"`
	Seen   map[int]bool        `json:"seen"`
	Extra  any                 `json:"extra"`
	Raw    json.RawMessage     `json:"raw,omitempty"`
	Price  json.Number         `json:"price"`
	Size   [2]float64          `json:"size"`
	Mood   mood                `json:"mood"`
	Point  struct{ X, Y int8 } `json:"point"`
	Since  time.Time           `json:"since,omitzero"`
	Maybe  *int                `json:"maybe,string"`
	Links  map[string][]link   `json:"links,omitzero"`
	_      int
	Left   func() `json:"-"`
	//lint:ignore SA5008 this names it -, and encoding/json v1 is who is asked
	Dash bool `json:"-,"`
	Odd  bool `json:"an odd-name"`
	//lint:ignore SA5008 a name that is none is passed over
	Bad bool `json:"bad\\name"`
}

type person struct {
	Name string  `json:"name"`
	Boss *person `json:"boss"`
}

type mood string

type link struct{ Href string }

// What is embedded: promoted, shadowed, hidden by each other, through a pointer,
// renamed.
type embedding struct {
	base
	*optional
	person `json:"person"`
	//lint:ignore U1000 what is embedded, not exported and no struct is passed over
	mood
	left
	right
	Name int
	More
}

type base struct{ Name, Kind string }
type optional struct{ Note string }
type left struct{ Both, Tagged string }
type right struct {
	Both  string
	Other string `json:"Tagged"`
}
type More map[string]More

type page[T any] struct {
	Items []T
	Next  *page[T]
}

type tree []tree

// Types that marshal themselves.
type (
	coded   struct{}
	texted  struct{ N int }
	byPtr   struct{ N int }
	union   struct{}
	letters []letter
	letter  byte
)

func (coded) MarshalJSON() ([]byte, error)  { return []byte(`[1]`), nil }
func (texted) MarshalText() ([]byte, error) { return []byte("t"), nil }
func (*byPtr) MarshalJSON() ([]byte, error) { return []byte(`"p"`), nil }
func (union) TypeScript() string            { return `"a" | 1` }
func (union) MarshalJSON() ([]byte, error)  { return []byte("1"), nil }
func (letter) MarshalText() ([]byte, error) { return []byte("l"), nil }

type methods struct {
	Coded  coded
	Text   texted
	Ptr    *texted
	ByPtr  byPtr
	Union  union
	Keys   map[texted]int
	Letter letters
	Flags  []bits
}

type bits uint8

// A number of encoding/json's own name, and a channel's.
type (
	Number   struct{ Of json.Number }
	Channels struct{ N int8 }
	object   struct{ N int8 }
	Point    struct{ Pressure float32 }
)
