package nats

import (
	"encoding/json"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ocsigo/comet/engine"
)

// FuzzToken: a name's token is one token of a subject, and no two names have the same.
func FuzzToken(f *testing.F) {
	f.Add("chat", "")
	f.Add("a.b", "a=2Eb")
	f.Add("=", "\xff\x00 *>")
	f.Fuzz(func(t *testing.T, a, b string) {
		if s := token(a); s == "" || strings.ContainsAny(s, ". *>\t\r\n\x00") {
			t.Fatalf("%q has the token %q", a, s)
		}
		if (token(a) == token(b)) != (a == b) {
			t.Fatalf("%q and %q: %q, %q", a, b, token(a), token(b))
		}
	})
}

// FuzzMessage: no message that JetStream keeps or answers with breaks what reads it, and
// the record of a log is read as it was written.
func FuzzMessage(f *testing.F) {
	f.Add("1", "2026-01-02T03:04:05Z", "0", "k2", []byte(`{"epoch":"k2x9"}`))
	f.Add("", "", "", "", []byte(nil))
	record, err := json.Marshal(record{Epoch: "k2x9", Stream: "s", Root: "r", Live: "l", Genesis: 1, Tag: 2, Size: 3, Bytes: 4, Newest: true, Idle: 5})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("18446744073709551615", "0000-01-01T00:00:00Z", "-1", "zzzzzzzzzzz", record)
	f.Fuzz(func(t *testing.T, seq, at, last, tag string, data []byte) {
		msg := &natsgo.Msg{Header: natsgo.Header{headerSeq: {seq}, headerTime: {at}, headerLast: {last}, headerTag: {tag}}, Data: data}
		m, err := parse(msg)
		if err != nil {
			return
		}
		_, _ = m.tag(), m.gone()
		l, err := newLife(engine.Name{Prefix: "p", Channel: "c"}, m)
		if err != nil {
			return
		}
		text, err := json.Marshal(l.record())
		if err != nil {
			t.Fatal(err)
		}
		again, err := newLife(l.name, &message{data: text, seq: m.seq})
		if err != nil || again.record() != l.record() || again.subject != l.subject || again.live != l.live {
			t.Fatalf("%q is %+v, written %q, read %+v: %v", data, l.record(), text, again, err)
		}
	})
}
