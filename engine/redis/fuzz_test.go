package redis

import (
	"errors"
	"strings"
	"testing"

	"github.com/ocsigo/comet/engine"
)

// FuzzLog: whatever stands in a stream's keys, it is read as entries in their order, or
// refused with an error of the contract.
func FuzzLog(f *testing.F) {
	f.Add("k2x9", "2", "7", "0", "1-5", "0 1700000000000", "data", "2-7", "5 1700000000001", uint64(1), uint32(5))
	f.Add("", "", "", "", "", "", "", "", "", uint64(0), uint32(0))
	f.Add("k", "18446744073709551615", "4294967295", "1", "0-0", "0 0", "", "18446744073709551615-1", "-1 x", uint64(1<<63), uint32(1))
	f.Fuzz(func(t *testing.T, epoch, seq, tag, single, id1, head1, data, id2, head2 string, after uint64, afterTag uint32) {
		entry := func(id, head string) any { return []any{id, []any{"h", head, "d", data}} }
		log, err := parseLog([]any{epoch, seq, tag, single, []any{entry(id1, head1), entry(id2, head2)}})
		if err != nil {
			if log.entries != nil || len(err.Error()) > 2000 {
				t.Fatalf("%v, with %d entries", err, len(log.entries))
			}
			return
		}
		for _, e := range log.entries {
			if e.Position.Epoch != epoch || e.Position.Seq == 0 || e.Prev != e.Position.Seq-1 || string(e.Data) != data {
				t.Fatalf("entry %+v", e)
			}
		}
		at := engine.Position{Epoch: epoch, Seq: after, Tag: afterTag}
		batch, err := log.after(at)
		switch {
		case err == nil && len(batch.Entries) > 0 && !log.single && (batch.Entries[0].Prev != at.Seq || batch.Entries[0].PrevTag != at.Tag):
			t.Fatalf("after %v comes %+v", at, batch.Entries[0])
		case err != nil && !errors.Is(err, engine.ErrEpoch) && !errors.Is(err, engine.ErrTrimmed) && !errors.Is(err, engine.ErrNoChannel):
			t.Fatal(err)
		}
	})
}

// FuzzReplies: no reply of a script, and no spec, breaks what reads it; what is written
// is read again.
func FuzzReplies(f *testing.F) {
	f.Add("k2x9\x001\x002\x00100", "10 1024 0 0", 2)
	f.Add("ok\x00k2x9\x001-5\x002-6", "1 1 1 1", 2)
	f.Add("", "", -1)
	f.Fuzz(func(t *testing.T, fields, spec string, n int) {
		var reply []any
		for _, s := range strings.Split(fields, "\x00") {
			reply = append(reply, s)
		}
		if places, err := parsePlaces(reply, max(0, min(n, 100))); err == nil && len(places) != len(reply)-2 {
			t.Fatalf("%q has the places %v", reply, places)
		}
		if at, err := parseTailAt(reply, 0); err == nil && at.at.Epoch != text(reply, 0) {
			t.Fatalf("%q ends at %v", reply, at.at)
		}
		if s, err := parseSpec(spec); err == nil {
			if again, err := parseSpec(specText(s)); err != nil || again != s {
				t.Fatalf("%q is %+v, written %q, read %+v: %v", spec, s, specText(s), again, err)
			}
		}
	})
}
