package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// heard keeps what a parser tells.
type heard []string

func (h *heard) id(id []byte)            { *h = append(*h, "id "+string(id)) }
func (h *heard) event(name, data []byte) { *h = append(*h, fmt.Sprintf("%s=%s", name, data)) }

const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"

func TestParserTakesAResponseCutAnywhere(t *testing.T) {
	const body = "retry: 5\n\nid: 1\nevent: a\ndata: x\n\n:\n\ndata:y\r\n\r\nid: 2\n\n"
	want := []string{"id 1", "a=x", "=y", "id 2"}
	whole := map[string]string{
		"identity": head + "\r\n" + body,
		"chunked":  head + "Transfer-Encoding: chunked\r\n\r\n" + chunks(body[:7], body[7:30], body[30:31], body[31:]) + "0\r\n\r\n",
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for name, text := range whole {
		for range 500 {
			var p parser
			var got heard
			for rest := []byte(text); len(rest) > 0; {
				n := 1 + random.IntN(min(len(rest), 40))
				if err := p.feed(rest[:n], &got); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				rest = rest[n:]
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s: heard %q, want %q", name, got, want)
			}
		}
	}
}

func chunks(parts ...string) (text string) {
	for _, p := range parts {
		text += fmt.Sprintf("%x\r\n%s\r\n", len(p), p)
	}
	return text
}

func TestParserRefusesWhatIsNoEventStream(t *testing.T) {
	for _, text := range []string{
		"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/event-stream\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
	} {
		var p parser
		if err := p.feed([]byte(text), new(heard)); !errors.Is(err, errStatus) {
			t.Errorf("%q: error %v", text, err)
		}
	}
}
