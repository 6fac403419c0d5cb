package message

import (
	"testing"
)

func TestNextReadsWhatAppendWrote(t *testing.T) {
	for _, size := range []int{0, 64, 1024} {
		want := Message{Channel: 9999, Seq: 12345, At: 1700000000123456789}
		text := want.Append([]byte(`data:{"d":"`), size)
		if n := len(text) - len(`data:{"d":"`); n != max(size, Min) {
			t.Errorf("size %d: %d bytes were written", size, n)
		}
		text = want.Append(append(text, `"},{"d":"`...), size)
		for range 2 {
			got, rest, ok := Next(text)
			if !ok || got != want {
				t.Fatalf("size %d: read %+v, %v; want %+v", size, got, ok, want)
			}
			text = rest
		}
		if _, _, ok := Next(text); ok {
			t.Errorf("size %d: a third message of two", size)
		}
	}
}

func TestNextRefusesWhatIsCutOrForeign(t *testing.T) {
	for _, text := range []string{"", "~", "~1~2~3", "~1~~3~", "~1~x~3~", "~1~-2~3~", "~1~12345678901234567890~3~"} {
		if m, _, ok := Next([]byte(text)); ok {
			t.Errorf("%q was read as %+v", text, m)
		}
	}
}
