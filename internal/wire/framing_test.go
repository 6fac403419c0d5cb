package wire

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http/httputil"
	"testing"
)

// What appendBody frames, net/http's reader of chunks gives back, whatever the
// sizes: empty batches between must not end the stream.
func TestChunksReadBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var want, wire []byte
		for n := random.IntN(8); n > 0; n-- {
			data := bytes.Repeat([]byte{'a' + byte(n)}, random.IntN(3)*random.IntN(5000))
			want = append(want, data...)
			wire = chunked.appendBody(wire, data, false)
		}
		wire = chunked.appendBody(wire, []byte("last"), true)
		got, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(wire)))
		if err != nil || !bytes.Equal(got, append(want, "last"...)) {
			t.Fatalf("%d bytes read back as %d, %v", len(want)+4, len(got), err)
		}
	}
}

// An end without data is an end, and only the end is one.
func TestFramingEnds(t *testing.T) {
	for _, c := range []struct {
		f    framing
		data string
		last bool
		want string
	}{
		{chunked, "", false, ""},
		{chunked, "", true, "0\r\n\r\n"},
		{chunked, "0123456789abcdef", false, "10\r\n0123456789abcdef\r\n"},
		{identity, "", true, ""},
		{identity, "data", true, "data"},
	} {
		if got := string(c.f.appendBody(nil, []byte(c.data), c.last)); got != c.want {
			t.Errorf("framing %d of %q, last %v: %q, want %q", c.f, c.data, c.last, got, c.want)
		}
	}
}
