package typescript

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// A field is one property of a struct's JSON.
type field struct {
	name     string
	typ      reflect.Type
	quoted   bool // the option string, where it has a meaning
	optional bool // it may be left out
	never    bool // and is, when it is nil
	index    []int
	tagged   bool
}

// A level is a struct whose fields are promoted, and how it was reached.
type level struct {
	typ     reflect.Type
	index   []int
	pointer bool // an embedded pointer led here: nil leaves all of it out
}

// fieldsOf returns t's properties as encoding/json finds them: breadth first
// through what is embedded; of several of one name the shallowest, among these the
// tagged one, and none where that leaves several.
func fieldsOf(t reflect.Type) []field {
	var all []field
	next := []level{{typ: t}}
	visited := map[reflect.Type]bool{}
	var count, nextCount map[reflect.Type]int
	for len(next) > 0 {
		current := next
		next, count, nextCount = nil, nextCount, map[reflect.Type]int{}
		for _, l := range current {
			if visited[l.typ] {
				continue
			}
			visited[l.typ] = true
			for i := range l.typ.NumField() {
				f, embedded, ok := l.field(i)
				switch {
				case !ok:
				case embedded == nil:
					all = append(all, f)
					if count[l.typ] > 1 { // reached twice on one level: both hide each other
						all = append(all, f)
					}
				default:
					if nextCount[embedded.typ]++; nextCount[embedded.typ] == 1 {
						next = append(next, *embedded)
					}
				}
			}
		}
	}
	return dominant(all)
}

// field reads the i-th field of a struct: a property, or a struct to be promoted.
func (l level) field(i int) (f field, embedded *level, ok bool) {
	sf := l.typ.Field(i)
	ft := sf.Type
	if ft.Name() == "" && ft.Kind() == reflect.Pointer {
		ft = ft.Elem()
	}
	if sf.Anonymous {
		if !sf.IsExported() && ft.Kind() != reflect.Struct {
			return f, nil, false
		}
	} else if !sf.IsExported() {
		return f, nil, false
	}
	tag := sf.Tag.Get("json")
	if tag == "-" {
		return f, nil, false
	}
	name, options, _ := strings.Cut(tag, ",")
	if !validName(name) {
		name = ""
	}
	index := append(slices.Clone(l.index), i)
	if name == "" && sf.Anonymous && ft.Kind() == reflect.Struct {
		return f, &level{ft, index, l.pointer || sf.Type.Kind() == reflect.Pointer}, true
	}
	f = field{name: cmp.Or(name, sf.Name), typ: sf.Type, index: index, tagged: name != "", optional: l.pointer}
	for option := range strings.SplitSeq(options, ",") {
		f.apply(option, ft)
	}
	return f, nil, true
}

// apply heeds one option of a tag. ft is the field's type, or what it points to.
func (f *field) apply(option string, ft reflect.Type) {
	switch option {
	case "string":
		f.quoted = quotable(ft)
	case "omitempty":
		if canBeEmpty(f.typ) {
			f.optional, f.never = true, true
		}
	case "omitzero":
		f.optional = true
		f.never = f.never || f.typ.Kind() == reflect.Pointer || !f.typ.Implements(zeroer) && !reflect.PointerTo(f.typ).Implements(zeroer)
	}
}

var zeroer = reflect.TypeFor[interface{ IsZero() bool }]()

func quotable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64:
		return true
	}
	return isInteger(t)
}

func isInteger(t reflect.Type) bool {
	return t.Kind() >= reflect.Int && t.Kind() <= reflect.Uintptr
}

func canBeEmpty(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Map, reflect.Slice, reflect.String, reflect.Bool, reflect.Float32, reflect.Float64, reflect.Interface, reflect.Pointer:
		return true
	case reflect.Array:
		return t.Len() == 0
	}
	return isInteger(t)
}

// validName reports whether encoding/json takes a tag's name.
func validName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	})
}

// dominant keeps one field of a name, or none, in the order of the struct.
func dominant(all []field) []field {
	byName := map[string][]field{}
	for _, f := range all {
		byName[f.name] = append(byName[f.name], f)
	}
	var kept []field
	for _, same := range byName {
		slices.SortStableFunc(same, func(a, b field) int {
			return cmp.Or(cmp.Compare(len(a.index), len(b.index)), boolFirst(a.tagged, b.tagged))
		})
		if len(same) == 1 || len(same[0].index) != len(same[1].index) || same[0].tagged != same[1].tagged {
			kept = append(kept, same[0])
		}
	}
	slices.SortFunc(kept, func(a, b field) int { return slices.Compare(a.index, b.index) })
	return kept
}

func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
