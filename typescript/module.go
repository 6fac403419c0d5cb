package typescript

import (
	"encoding"
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A module is what one Write declares: the named types, in the order in which the
// entries lead to them, and their names.
type module struct {
	order []reflect.Type
	seen  map[reflect.Type]bool
	names map[reflect.Type]string
}

func newModule() *module {
	return &module{seen: map[reflect.Type]bool{}, names: map[reflect.Type]string{}}
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	teller        = reflect.TypeFor[interface{ TypeScript() string }]()
	timeType      = reflect.TypeFor[time.Time]()
	numberType    = reflect.TypeFor[json.Number]()
)

// marshals reports whether t's JSON is made by a method, and as what: "" says that
// it is not. A method of the pointer is called only where the value can be
// addressed, so what comes is anybody's guess.
func marshals(t reflect.Type) string {
	switch {
	case t.Implements(teller):
		return told(t)
	case t == timeType:
		return "string"
	case t == numberType:
		return "number"
	case t.Kind() == reflect.Interface:
		return "unknown"
	case t.Kind() == reflect.Pointer && t.Name() == "": // as what it leads to, or null
		return ""
	case t.Implements(jsonMarshaler):
		return "unknown"
	case reflect.PointerTo(t).Implements(jsonMarshaler):
		return "unknown"
	case t.Implements(textMarshaler):
		return "string"
	case reflect.PointerTo(t).Implements(textMarshaler):
		return "unknown"
	}
	return ""
}

// told asks a type for its own expression. A pointer type's method may be its
// element's, which a nil pointer cannot be asked for.
func told(t reflect.Type) string {
	v := reflect.New(t).Elem()
	if t.Kind() == reflect.Pointer {
		if t.Elem().Implements(teller) {
			return ""
		}
		v = reflect.New(t.Elem())
	}
	if t.Kind() == reflect.Interface {
		return "unknown"
	}
	return v.Interface().(interface{ TypeScript() string }).TypeScript()
}

// declared reports whether t gets a declaration of its own. Named slices, maps and
// arrays do, because they may lead to themselves.
func declared(t reflect.Type) bool {
	if t.Name() == "" {
		return false
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Array:
		return true
	case reflect.Slice:
		return !isBase64(t)
	}
	return false
}

// isBase64 reports whether a slice is written as text: bytes that do not marshal
// themselves.
func isBase64(t reflect.Type) bool {
	p := reflect.PointerTo(t.Elem())
	return t.Elem().Kind() == reflect.Uint8 && !p.Implements(jsonMarshaler) && !p.Implements(textMarshaler)
}

// collect finds the types to declare that t leads to, and refuses what JSON cannot
// carry. where is the path to t.
func (m *module) collect(t reflect.Type, where string) error {
	if m.seen[t] {
		return nil
	}
	m.seen[t] = true
	if marshals(t) != "" {
		return nil
	}
	if declared(t) {
		m.order = append(m.order, t)
	}
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return fmt.Errorf("typescript: %s: JSON cannot carry %v: leave the field out with the tag json:\"-\", or give its type a MarshalJSON", where, t)
	case reflect.Map:
		if !keyed(t.Key()) {
			return fmt.Errorf("typescript: %s: JSON cannot carry %v: a map's keys are strings, integers or encoding.TextMarshaler", where, t)
		}
		return m.collect(t.Elem(), where+"[]")
	case reflect.Slice:
		if isBase64(t) {
			return nil
		}
		return m.collect(t.Elem(), where+"[]")
	case reflect.Pointer:
		if endless(t) {
			return fmt.Errorf("typescript: %s: JSON cannot carry %v: it points to nothing but itself", where, t)
		}
		return m.collect(t.Elem(), where)
	case reflect.Array:
		return m.collect(t.Elem(), where+"[]")
	case reflect.Struct:
		for _, f := range fieldsOf(t) {
			if err := m.collect(f.typ, where+"."+f.name); err != nil {
				return err
			}
		}
	}
	return nil
}

// endless reports whether pointers lead to pointers only: type P *P.
func endless(t reflect.Type) bool {
	for seen := map[reflect.Type]bool{}; t.Kind() == reflect.Pointer; t = t.Elem() {
		if seen[t] {
			return true
		}
		seen[t] = true
	}
	return false
}

func keyed(key reflect.Type) bool {
	switch key.Kind() {
	case reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return true
	}
	return key.Implements(textMarshaler)
}

// choose gives every declared type a name: its own; with its package's before it
// where others have the same; with a number after it where that does not help.
func (m *module) choose() {
	count := map[string]int{}
	for _, t := range m.order {
		count[plainName(t)]++
	}
	used := map[string]bool{"Channels": true, "Inboxes": true}
	for _, word := range strings.Fields(reserved) {
		used[word] = true
	}
	for _, t := range m.order {
		name := plainName(t)
		if count[name] > 1 || used[name] {
			name = capital("P", identifier.ReplaceAllString(path.Base(t.PkgPath()), "")) + capital("", name)
		}
		chosen := name
		for n := 2; used[chosen]; n++ {
			chosen = fmt.Sprint(name, n)
		}
		used[chosen] = true
		m.names[t] = chosen
	}
}

var (
	qualifier  = regexp.MustCompile(`[^\[\],*{} ]*[./]`)  // of a generic type's arguments
	identifier = regexp.MustCompile(`[^\p{L}\p{N}_]`)     // what no name may have
	local      = regexp.MustCompile(`·[0-9]+`)            // how the compiler tells types of functions apart
	unquoted   = regexp.MustCompile(`^[A-Za-z_$][\w$]*$`) // properties that need no quotes
)

// capital begins a name with a capital letter, or else with prefix.
func capital(prefix, name string) string {
	first, size := utf8.DecodeRuneInString(name)
	if !unicode.IsLetter(first) {
		return prefix + name
	}
	return string(unicode.ToUpper(first)) + name[size:]
}

// plainName is t's name without its package, its arguments' names after its own.
func plainName(t reflect.Type) string {
	return identifier.ReplaceAllString(qualifier.ReplaceAllString(local.ReplaceAllString(t.Name(), ""), ""), "")
}

// reserved are the words that TypeScript gives no type, and those that mean one.
const reserved = `any unknown never object string number boolean bigint symbol undefined null void true false this
	break case catch class const continue debugger default delete do else enum export extends finally for function if import in
	instanceof new return super switch throw try typeof var while with implements interface let package private protected
	public static yield await async type declare namespace module abstract as is infer keyof readonly unique asserts Array`
