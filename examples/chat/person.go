package main

import (
	"crypto/sha256"
	"encoding/hex"
)

// A Person is a session with a name: all tabs of one browser are one person.
type Person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Hue  int    `json:"hue"` // 0 to 11, a place on the page's colour wheel
}

var guest = Person{ID: "guest", Name: "Guest"}

var (
	manners = [...]string{"Amber", "Brave", "Calm", "Early", "Gentle", "Keen", "Lucky", "Merry", "Patient", "Quiet", "Swift", "Witty"}
	animals = [...]string{"Badger", "Crane", "Dolphin", "Falcon", "Heron", "Ibex", "Lynx", "Marten", "Otter", "Puffin", "Robin", "Stoat"}
)

// person names a session. The key itself is a secret of the session's, so everything shown is taken from its hash.
func person(session string) Person {
	sum := sha256.Sum256([]byte(session))
	return Person{
		ID:   hex.EncodeToString(sum[:6]),
		Name: manners[int(sum[6])%len(manners)] + " " + animals[int(sum[7])%len(animals)],
		Hue:  int(sum[8]) % 12,
	}
}
