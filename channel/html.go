package channel

import (
	"fmt"
	"html/template"
	"reflect"
)

// HTML carries markup for a page to insert as it is: a string, or an
// html/template.HTML. The markup is trusted: nothing is escaped, so whatever of
// it came from a user must have been escaped before, as html/template does when
// it renders. Line ends and NUL fare as with [Text].
var HTML Encoding = htmlEncoding{}

type htmlEncoding struct{}

func (htmlEncoding) Name() string { return "html" }

func (htmlEncoding) Check(t reflect.Type) error {
	if t == reflect.TypeFor[string]() || t == reflect.TypeFor[template.HTML]() || t.Kind() == reflect.Interface {
		return nil
	}
	return fmt.Errorf("channel.HTML cannot carry %v: allowed are string and html/template.HTML", t)
}

func (e htmlEncoding) Encode(v any) ([]byte, error) {
	switch v := v.(type) {
	case string:
		return Text.Encode(v)
	case template.HTML:
		return Text.Encode(string(v))
	case nil:
		return nil, fmt.Errorf("channel.HTML cannot carry nil: allowed are string and html/template.HTML")
	}
	return nil, e.Check(reflect.TypeOf(v))
}

func (htmlEncoding) Decode(data []byte, v any) error {
	switch v := v.(type) {
	case *string:
		*v = string(data)
	case *template.HTML:
		*v = template.HTML(data)
	default:
		return fmt.Errorf("channel.HTML cannot be read back into %T: allowed are *string and *html/template.HTML", v)
	}
	return nil
}
