package typescript

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// declaration writes t's.
func (m *module) declaration(t reflect.Type) string {
	if t.Kind() == reflect.Struct {
		return fmt.Sprintf("export interface %s %s\n", m.names[t], m.members(t, ""))
	}
	return fmt.Sprintf("export type %s = %s;\n", m.names[t], m.present(t))
}

// expr is the type of a T's JSON.
func (m *module) expr(t reflect.Type) string {
	if told := marshals(t); told != "" {
		if t.Kind() == reflect.Pointer {
			return union(told, "null")
		}
		return told
	}
	if nilable(t) {
		return union(m.notNil(t), "null")
	}
	return m.notNil(t)
}

func nilable(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer || t.Kind() == reflect.Map || t.Kind() == reflect.Slice
}

// notNil is expr without the null of a nil.
func (m *module) notNil(t reflect.Type) string {
	if told := marshals(t); told != "" {
		return told
	}
	if name := m.names[t]; name != "" {
		return name
	}
	return m.present(t)
}

// present writes t itself, not its name.
func (m *module) present(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Pointer:
		return m.expr(t.Elem())
	case reflect.Map:
		return "{ [key: string]: " + m.expr(t.Elem()) + " }"
	case reflect.Slice:
		if isBase64(t) {
			return "string"
		}
		return list(m.expr(t.Elem()))
	case reflect.Array:
		return list(m.expr(t.Elem()))
	case reflect.Struct:
		return m.members(t, "")
	}
	return "number"
}

// members writes a struct's properties.
func (m *module) members(t reflect.Type, indent string) string {
	var b strings.Builder
	b.WriteString("{\n")
	for _, f := range fieldsOf(t) {
		mark := ""
		if f.optional {
			mark = "?"
		}
		note := ""
		if !f.quoted {
			note = warning(f.typ, indent+"  ")
		}
		fmt.Fprintf(&b, "%s  %s%s%s: %s;\n", indent, note, property(f.name), mark, strings.ReplaceAll(m.fieldExpr(f), "\n", "\n  "))
	}
	b.WriteString(indent + "}")
	return b.String()
}

func (m *module) fieldExpr(f field) string {
	t := f.typ
	if t.Kind() == reflect.Pointer && t.Name() == "" {
		t = t.Elem()
	}
	switch quoted := f.quoted && (t == numberType || marshals(t) == ""); {
	case quoted && (f.never || t == f.typ):
		return "string"
	case quoted:
		return "string | null"
	case f.never:
		return m.notNil(f.typ)
	}
	return m.expr(f.typ)
}

// warning says that a field may hold what JSON.parse rounds.
func warning(t reflect.Type, indent string) string {
	if t == nil {
		return ""
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if marshals(t) != "" {
		return ""
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64, reflect.Uintptr:
		return fmt.Sprintf("/** Go's %v: JSON.parse rounds it beyond 2^53. */\n%s", t.Kind(), indent)
	}
	return ""
}

func list(expr string) string {
	if strings.Contains(expr, "|") {
		return "(" + expr + ")[]"
	}
	return expr + "[]"
}

func union(expr, more string) string {
	if expr == "unknown" || expr == more || strings.HasSuffix(expr, "| "+more) {
		return expr
	}
	return expr + " | " + more
}

// property writes a property's name.
func property(name string) string {
	if unquoted.MatchString(name) {
		return name
	}
	quoted, err := json.Marshal(name)
	if err != nil { // no text is refused
		panic("typescript: " + err.Error())
	}
	return string(quoted)
}
