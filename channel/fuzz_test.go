package channel

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// sentByPage is a type as apps have them.
type sentByPage struct {
	Text   string
	Number int64
	List   []sentByPage    `json:",omitempty"`
	Map    map[string]bool `json:",omitempty"`
	Some   *float64        `json:",omitempty"`
}

// FuzzDecodeStrictly: what a page sends is a value or is refused in few words; one that is taken is
// what would be written for it, and nothing of it was left unread.
func FuzzDecodeStrictly(f *testing.F) {
	for _, s := range []string{
		`{"Text":"a","Number":1}`, `{"text":"a","List":[{"Map":{"x":true}}]}`, `{"Text":"a","Other":1}`, `null`, ` null `, `{} {}`, `{}x`, `[]`, `"\ud800"`, "\xff",
		`{"Number":1e3}`, `{"Number":9223372036854775808}`, `{"Some":1e400}`, `{"Text":"a","Text":"b"}`, ``, `{`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := decodeStrictly[sentByPage](data)
		if err != nil {
			if len(err.Error()) > 300 {
				t.Fatalf("%d bytes are refused with %d", len(data), len(err.Error()))
			}
			return
		}
		if !json.Valid(data) {
			t.Fatalf("%q was taken", data)
		}
		again, err := json.Marshal(v)
		if err != nil || !utf8.Valid(again) {
			t.Fatalf("%q was taken, and cannot be written: %v", data, err)
		}
		w, err := decodeStrictly[sentByPage](again)
		if err != nil || !reflect.DeepEqual(norm(v), norm(w)) {
			t.Fatalf("%q was taken as %+v, which is read as %+v: %v", data, v, w, err)
		}
	})
}

// norm has what is empty be nil: omitempty writes neither.
func norm(v sentByPage) sentByPage {
	if len(v.Map) == 0 {
		v.Map = nil
	}
	list := v.List
	v.List = nil
	for _, e := range list {
		v.List = append(v.List, norm(e))
	}
	return v
}
