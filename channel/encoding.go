package channel

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
)

// An Encoding turns values into the bytes of an event's data, and back. It is
// not generic: one encoding serves channels of many types. [JSON] is the
// default, [Text] and [HTML] carry text as it is; programs may bring their own.
//
// Its methods are called from many goroutines at once. A panic in them ends the
// channel it happened in.
type Encoding interface {
	// Name tells encodings apart: [Find] takes two encodings of one name for
	// the same. Not empty, and constant.
	Name() string
	// Check says whether values of type t can be carried at all. It is asked
	// once, when a channel is created and before its stream is touched. The
	// error names the type and what is allowed.
	Check(t reflect.Type) error
	// Encode returns v as UTF-8. The result shares no memory with v and belongs
	// to the caller.
	Encode(v any) ([]byte, error)
	// Decode stores into v, a non-nil pointer, the value that data encodes, and
	// keeps nothing of data.
	Decode(data []byte, v any) error
}

// JSON is the default encoding: encoding/json's, with <, > and & as they are,
// because an event's data is read by JSON.parse and never by an HTML parser. A
// nil pointer, map, slice or interface is null.
var JSON Encoding = jsonEncoding{}

type jsonEncoding struct{}

func (jsonEncoding) Name() string { return "json" }

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	stringer      = reflect.TypeFor[fmt.Stringer]()
)

// Check refuses what encoding/json could never write; what lies deeper in t is
// told by Encode.
func (jsonEncoding) Check(t reflect.Type) error {
	if t.Implements(jsonMarshaler) || t.Implements(textMarshaler) {
		return nil
	}
	switch t.Kind() {
	case reflect.Func, reflect.Chan, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return fmt.Errorf("channel.JSON cannot carry %v: use a type that encoding/json marshals", t)
	}
	return nil
}

func (jsonEncoding) Encode(v any) ([]byte, error) {
	var line jsonLine
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return line[:len(line)-1], nil
}

func (jsonEncoding) Decode(data []byte, v any) error { return json.Unmarshal(data, v) }

// A jsonLine takes what json.Encoder writes, which is the value and a line end,
// in memory of its own and no larger.
type jsonLine []byte

func (l *jsonLine) Write(p []byte) (int, error) {
	*l = append(*l, p...)
	return len(p), nil
}

// A payload is one value as one encoding wrote it, or why it could not.
type payload struct {
	enc  Encoding
	data []byte
	err  error
}

// encode appends v to buf as each of encs writes it.
func encode(buf []payload, encs []Encoding, v any) []payload {
	for _, enc := range encs {
		data, err := encodeOne(enc, v)
		buf = append(buf, payload{enc, data, err})
	}
	return buf
}

func encodeOne(enc Encoding, v any) (data []byte, err error) {
	defer catch(&err)
	return enc.Encode(v)
}

func decode(enc Encoding, data []byte, v any) (err error) {
	defer catch(&err)
	return enc.Decode(data, v)
}

// recode reads a T as one encoding wrote it and writes it as another.
func recode[T any](data []byte, from, to Encoding) ([]byte, error) {
	var v T
	if err := decode(from, data, &v); err != nil {
		return nil, err
	}
	return encodeOne(to, v)
}

// as returns the payload for enc. Where there is none, its reader was unclaimed
// when the value was encoded: the JSON that was made for it is there, for the
// reader to recode.
func as(enc Encoding, payloads []payload) payload {
	i := find(enc, payloads)
	if i < 0 {
		i = find(JSON, payloads)
	}
	return payloads[i]
}

func find(enc Encoding, payloads []payload) int {
	return slices.IndexFunc(payloads, func(p payload) bool { return p.enc.Name() == enc.Name() })
}
