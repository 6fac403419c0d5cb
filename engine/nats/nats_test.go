package nats

import (
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine"
)

func TestTokens(t *testing.T) {
	seen := map[string]string{}
	for _, s := range []string{"", "=", "a", "A", "a.b", "a=2Eb", "a b", "a*", ">", "é", "\x00", "a\nb", "==", strings.Repeat("x", engine.MaxName), strings.Repeat("é", engine.MaxName/2)} {
		token := token(s)
		if token == "" || strings.ContainsAny(token, ". *>\t\r\n\x00") || len(token) > 3*engine.MaxName {
			t.Errorf("%q is %q, which is no token", s, token)
		}
		if other, taken := seen[token]; taken {
			t.Errorf("%q and %q are both %q", s, other, token)
		}
		seen[token] = s
	}
	if a, b := key(engine.Name{Prefix: "a", Channel: "b.c"}), key(engine.Name{Prefix: "a.b", Channel: "c"}); a == b {
		t.Errorf("two names have the key %q", a)
	}
}

func TestClasses(t *testing.T) {
	for size, want := range map[int]int{1: 1, 2: 16, 16: 16, 17: 128, 1000: 1024, 1024: 1024, 1025: 8192, 1 << 41: 1 << 43} {
		if got := class(size); got != want {
			t.Errorf("a log of %d entries is in class %d, want %d", size, got, want)
		}
	}
}

func TestServerTTL(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Second: "1s", time.Second + 1: "2s", time.Millisecond: "1s", time.Minute: "1m0s"} {
		if got := serverTTL(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

// The IDs of two lives of a name, and of two names, must not be the same to a
// stream that has both.
func TestMessageIDs(t *testing.T) {
	l := &life{genesis: engine.Position{Epoch: "a", Seq: 11}}
	other := &life{genesis: engine.Position{Epoch: "a", Seq: 1}}
	if a, b := l.msgID("1"), other.msgID("11"); a == b {
		t.Errorf("two items have the ID %q", a)
	}
	if id := l.msgID("a\r\nNats-TTL: 1s"); strings.ContainsAny(id, "\r\n ") {
		t.Errorf("an ID breaks out of its header: %q", id)
	}
	if tag := tagOf(l.msgID("1")); tag == 0 || tag == tagOf(l.msgID("2")) {
		t.Errorf("the tag of an item is %d, and that of another", tag)
	}
}
