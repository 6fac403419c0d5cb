package channel

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// Text carries text as it is, without quotes: types made of string or []byte,
// encoding.TextMarshaler (preferred where a type is both) and fmt.Stringer.
// Reading back needs one of the first two, or an encoding.TextUnmarshaler.
//
// Encode refuses a nil value and what is not UTF-8. An event stream has one
// line end: the browser sees CR and CRLF as LF. A NUL reaches some browsers as
// U+FFFD or not at all. Use [JSON] where that matters.
var Text Encoding = textEncoding{}

type textEncoding struct{}

var errNotUTF8 = errors.New("text must be valid UTF-8; carry other bytes in JSON")

func (textEncoding) Name() string { return "text" }

func (textEncoding) Check(t reflect.Type) error {
	if t.Kind() == reflect.Interface || t.Implements(textMarshaler) || isText(t) || t.Implements(stringer) {
		return nil
	}
	return fmt.Errorf("channel.Text cannot carry %v: allowed are types made of string or []byte, encoding.TextMarshaler and fmt.Stringer", t)
}

func (e textEncoding) Encode(v any) ([]byte, error) {
	rv := reflect.ValueOf(v)
	if !rv.IsValid() || rv.Kind() == reflect.Pointer && rv.IsNil() {
		return nil, fmt.Errorf("channel.Text cannot carry a nil %T", v)
	}
	data, err := e.text(v, rv)
	if err == nil && !utf8.Valid(data) {
		err = errNotUTF8
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// text returns a copy: the bytes behind v may be a request's.
func (e textEncoding) text(v any, rv reflect.Value) ([]byte, error) {
	if m, ok := v.(encoding.TextMarshaler); ok {
		data, err := m.MarshalText()
		return append([]byte(nil), data...), err
	}
	switch {
	case rv.Kind() == reflect.String:
		return []byte(rv.String()), nil
	case isText(rv.Type()):
		return append([]byte(nil), rv.Bytes()...), nil
	}
	if s, ok := v.(fmt.Stringer); ok {
		return []byte(s.String()), nil
	}
	return nil, e.Check(rv.Type())
}

func (textEncoding) Decode(data []byte, v any) error {
	if u, ok := v.(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText(append([]byte(nil), data...))
	}
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("channel.Text decodes into a non-nil pointer, not into %T", v)
	}
	switch to := p.Elem(); {
	case to.Kind() == reflect.String:
		to.SetString(string(data))
	case isText(to.Type()):
		to.SetBytes(append([]byte{}, data...))
	default:
		return fmt.Errorf("channel.Text cannot be read back into %v: allowed are types made of string or []byte, and encoding.TextUnmarshaler", to.Type())
	}
	return nil
}

func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}
