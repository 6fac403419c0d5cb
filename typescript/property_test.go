package typescript_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"time"

	ts "github.com/ocsigo/comet/typescript"
)

const remedy = "%s is not installed: npm install --prefix client --no-package-lock (Debian: apt-get install npm)"

// tool finds a program that the property test needs, or skips it where it may.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf(remedy, name)
	}
	t.Skipf(remedy, name)
	return ""
}

// TestValuesHaveTheirTypes: random values of random types, marshalled in Go and
// parsed in Node, have the types that were written, as tsc --strict sees it, with no
// property too many. And what is not of a type is no value of it.
func TestValuesHaveTheirTypes(t *testing.T) {
	const types, values = 120, 12
	tsc, err := filepath.Abs("../client/node_modules/.bin/tsc")
	if err != nil {
		t.Fatal(err)
	}
	tsc = tool(t, tsc)
	node := tool(t, "node")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := maker{rand.New(rand.NewPCG(seed, 0))}

	entries := append([]ts.Entry(nil), golden...)
	chosen := map[string]reflect.Type{
		"chat": reflect.TypeFor[message](), "embedding": reflect.TypeFor[embedding](), "people": reflect.TypeFor[page[person]](),
		"tree": reflect.TypeFor[tree](), "methods": reflect.TypeFor[methods](), "numbers": reflect.TypeFor[*page[int]](),
	}
	for i := range types {
		name, typ := fmt.Sprint("random", i), r.structure(3)
		chosen[name] = typ
		entries = append(entries, ts.ChannelOf(name, typ))
	}
	var lines bytes.Buffer
	for name, typ := range chosen {
		for range values {
			v := reflect.New(typ).Elem()
			r.fill(v, 4)
			for _, form := range []any{v.Interface(), v.Addr().Interface()} { // a pointer's methods count for the second
				data, err := json.Marshal(form)
				if err != nil {
					t.Fatalf("%v: %v", typ, err)
				}
				fmt.Fprintf(&lines, "%s %s\n", name, data)
			}
		}
	}
	dir := t.TempDir()
	var channels bytes.Buffer
	if err := ts.Write(&channels, entries...); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("channels.ts", channels.String())
	write("values.txt", lines.String())
	write("parse.mjs", parse)
	write("wrong.ts", wrong)
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%.4000s", filepath.Base(name), err, out)
		}
	}
	run(node, "parse.mjs")
	run(tsc, "--strict", "--exactOptionalPropertyTypes", "--noEmit", "--target", "es2022", "--module", "nodenext", "channels.ts", "values.ts", "wrong.ts")
}

// parse makes a TypeScript literal of what JSON.parse makes of each value.
const parse = `import fs from "node:fs";
let out = 'import type { Channels } from "./channels.js";\n';
for (const line of fs.readFileSync("values.txt", "utf8").trimEnd().split("\n")) {
  const space = line.indexOf(" "), name = line.slice(0, space);
  out += "{ const v: Channels[" + JSON.stringify(name) + "] = " + JSON.stringify(JSON.parse(line.slice(space + 1))) + "; void v; }\n";
}
fs.writeFileSync("values.ts", out);
`

// wrong must be refused, line by line.
const wrong = `import type { Channels, Inboxes } from "./channels.js";
// @ts-expect-error a property is missing
const a: Inboxes["chat"] = {};
// @ts-expect-error one is too many
const b: Inboxes["chat"] = { Href: "", More: 1 };
// @ts-expect-error null where there is no nil
const c: Channels["people"]["Items"] = [null];
// @ts-expect-error undefined is not left out
const d: Pick<Channels["chat"], "tags"> = { tags: undefined };
// @ts-expect-error omitempty leaves nil out
const e: Pick<Channels["chat"], "tags"> = { tags: null };
// @ts-expect-error a number in a string is a string
const f: Channels["chat"]["exact"] = 1;
// @ts-expect-error no such channel
const g: Channels["chta"] = 1;
export default [a, b, c, d, e, f, g];
`

// A maker makes random types, and values of any.
type maker struct{ *rand.Rand }

var leaves = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[string](), reflect.TypeFor[int](), reflect.TypeFor[uint8](), reflect.TypeFor[int64](),
	reflect.TypeFor[float64](), reflect.TypeFor[[]byte](), reflect.TypeFor[time.Time](), reflect.TypeFor[json.Number](),
	reflect.TypeFor[any](), reflect.TypeFor[mood](), reflect.TypeFor[coded](), reflect.TypeFor[texted](), reflect.TypeFor[byPtr](),
	reflect.TypeFor[tree](), reflect.TypeFor[person](), reflect.TypeFor[embedding](), reflect.TypeFor[page[mood]](), reflect.TypeFor[More](),
	reflect.TypeFor[letters](),
}

func (r maker) typ(depth int) reflect.Type {
	if depth == 0 {
		return leaves[r.IntN(len(leaves))]
	}
	switch r.IntN(8) {
	case 0:
		return reflect.PointerTo(r.typ(depth - 1))
	case 1:
		return reflect.SliceOf(r.typ(depth - 1))
	case 2:
		return reflect.ArrayOf(r.IntN(3), r.typ(depth-1))
	case 3:
		keys := []reflect.Type{reflect.TypeFor[string](), reflect.TypeFor[int16](), reflect.TypeFor[mood](), reflect.TypeFor[texted]()}
		return reflect.MapOf(keys[r.IntN(len(keys))], r.typ(depth-1))
	case 4:
		return r.structure(depth - 1)
	}
	return r.typ(0)
}

func (r maker) structure(depth int) reflect.Type {
	options := []string{"", "", "", ",omitempty", ",omitzero", ",string", ",string,omitempty", ",omitempty,omitzero"}
	fields := make([]reflect.StructField, r.IntN(7))
	for i := range fields {
		name := []string{"", "", fmt.Sprintf("name-%d", i), "-", "same"}[r.IntN(5)]
		option := options[r.IntN(len(options))]
		fields[i] = reflect.StructField{
			Name: fmt.Sprint("F", i), Type: r.typ(depth),
			Tag: reflect.StructTag("json:" + strconv.Quote(name+option)),
		}
	}
	return reflect.StructOf(fields)
}

// fill gives v a random value, often a zero or a nil.
func (r maker) fill(v reflect.Value, depth int) {
	if r.IntN(4) == 0 || depth < 0 || !v.CanSet() {
		return
	}
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<32), 0).UTC()))
		return
	case reflect.TypeFor[json.Number]():
		v.SetString("12.5")
		return
	case reflect.TypeFor[json.RawMessage]():
		v.SetBytes([]byte(`{"raw":true}`))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString([]string{"x", "", "\u2028 <&>", `"`}[r.IntN(4)])
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64()) >> 12)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64() >> 12)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(r.NormFloat64())
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.fill(v.Elem(), depth-1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			r.fill(v.Index(i), depth-1)
		}
	case reflect.Array:
		for i := range v.Len() {
			r.fill(v.Index(i), depth-1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(3) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			r.fill(key, depth-1)
			r.fill(value, depth-1)
			v.SetMapIndex(key, value)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(map[string]any{"k": []int{1}}))
	case reflect.Struct:
		for i := range v.NumField() {
			r.fill(v.Field(i), depth-1)
		}
	}
}
