package sse_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/ocsigo/comet/sse"
)

// A coding is a Compressor, and what reads it: not written by us.
type coding struct {
	make func(testing.TB) *sse.Compressor
	read func(io.Reader) (io.Reader, error)
}

var codings = map[string]coding{
	"gzip": {
		make: func(testing.TB) *sse.Compressor { return sse.Gzip() },
		read: func(r io.Reader) (io.Reader, error) { return stdgzip.NewReader(r) },
	},
	"zstd": {
		make: func(t testing.TB) *sse.Compressor { return sse.Zstd(newZstd(t).EncodeAll) },
		read: readZstd,
	},
	"zstd with checksums": {
		make: func(t testing.TB) *sse.Compressor { return sse.Zstd(newZstd(t, zstd.WithEncoderCRC(true)).EncodeAll) },
		read: readZstd,
	},
	"zstd of many segments": {
		make: func(t testing.TB) *sse.Compressor {
			return sse.Zstd(newZstd(t, zstd.WithSingleSegment(false)).EncodeAll)
		},
		read: readZstd,
	},
}

func newZstd(t testing.TB, options ...zstd.EOption) *zstd.Encoder {
	t.Helper()
	e, err := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithWindowSize(128 << 10), zstd.WithEncoderCRC(false)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// readZstd reads as browsers do: with no window larger than RFC 9659 allows.
func readZstd(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
}

func eachCoding(t *testing.T, run func(t *testing.T, c coding)) {
	for name, c := range codings {
		t.Run(name, func(t *testing.T) { run(t, c) })
	}
}

// decoded is what a reader makes of wire, and the error that it ends with.
func (c coding) decoded(wire []byte) ([]byte, error) {
	r, err := c.read(bytes.NewReader(wire))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// fillings are batches that use all that a batch has, of all sizes.
func fillings(t testing.TB) []func(*sse.Batch) {
	var large []*sse.Frame
	for _, m := range messages(t, 3, 700) {
		large = append(large, mustFrame(t, "chat", m))
	}
	small, noise := mustFrame(t, "chat", []byte("hello")), make([]byte, 200<<10)
	for i := range noise { // letters, that no line ends early
		noise[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[rand.New(rand.NewPCG(1, uint64(i))).IntN(64)]
	}
	raw := make([]byte, 0, 2000) // nothing makes it smaller
	for random := rand.New(rand.NewPCG(2, 3)); len(raw) < cap(raw); {
		if c := byte(random.Uint32()); c != '\n' && c != '\r' {
			raw = append(raw, c)
		}
	}
	incompressible := mustFrame(t, "noise", noise[:2000])
	id := []byte("c1.2a-7f3,c2.19")
	return []func(*sse.Batch){
		func(b *sse.Batch) { b.Retry(time.Second); b.Event(id, "comet:hello", []byte(`{"version":1}`)) },
		func(b *sse.Batch) { b.Frame(id, large[0]) },
		func(b *sse.Batch) { b.Frame(nil, large[1]); b.Frame(id, large[2]); b.Frame(nil, large[2]) },
		func(b *sse.Batch) { b.Event(nil, "comet:hb", nil) },
		func(b *sse.Batch) { b.Frame(id, small); b.Frame(nil, large[0]); b.Frame(nil, small) },
		func(b *sse.Batch) { b.Frame(id, incompressible); b.Comment("noise") },
		func(b *sse.Batch) {},
		func(b *sse.Batch) { b.Event(id, "raw", raw) },
		func(b *sse.Batch) { b.Event(id, "big", messages(t, 1, 5000)[0]); b.Frame(id, large[1]) },
		func(b *sse.Batch) {
			for range 100 {
				b.Frame(id, small)
			}
			b.Frame(id, large[0])
			b.Event(id, "big", messages(t, 1, 5000)[0])
		},
		func(b *sse.Batch) { b.Event(id, "noise", noise); b.Frame(id, large[0]) },
	}
}

// Whoever reads an encoded event stream reads what its text is, and hears of its
// end; of one that was cut, gzip's reader hears that.
func TestEncoded(t *testing.T) {
	eachCoding(t, func(t *testing.T, c coding) {
		e := c.make(t).NewEncoder()
		var b, plain sse.Batch
		var wire, text []byte
		for _, fill := range fillings(t) {
			b.ResetFor(e)
			plain.Reset()
			fill(&b)
			fill(&plain)
			if b.Events() != plain.Events() || (b.Len() == 0) != (plain.Len() == 0) {
				t.Errorf("%d events in %d bytes, as text %d in %d", b.Events(), b.Len(), plain.Events(), plain.Len())
			}
			wire, text = append(wire, b.Bytes()...), append(text, plain.Bytes()...)
		}
		if got, err := c.decoded(wire); !bytes.Equal(got, text) || err != c.cutError(t) {
			t.Errorf("cut: %v, and the text is right: %v", err, bytes.Equal(got, text))
		}
		b.ResetFor(e)
		b.End()
		wire = append(wire, b.Bytes()...)
		if got, err := c.decoded(wire); !bytes.Equal(got, text) || err != nil {
			t.Errorf("ended: %v, and the text is right: %v", err, bytes.Equal(got, text))
		}
	})
}

// cutError is what the reader says of a stream that was cut between two batches.
func (c coding) cutError(t *testing.T) error {
	if c.make(t).Name() == "gzip" {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// An event stream that ends before it said anything is a valid one.
func TestEncodedNothing(t *testing.T) {
	eachCoding(t, func(t *testing.T, c coding) {
		var b sse.Batch
		b.ResetFor(c.make(t).NewEncoder())
		if b.Len() != 0 || len(b.Bytes()) != 0 {
			t.Errorf("a batch of nothing is %q", b.Bytes())
		}
		b.End()
		if got, err := c.decoded(b.Bytes()); len(got) > 0 || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

// Wherever the connection is cut, what was read is the beginning of the text; and
// as soon as a batch's bytes are there, all its events are (rule 2).
func TestEncodedAtAnyCut(t *testing.T) {
	for _, name := range []string{"gzip", "zstd"} {
		c := codings[name]
		e := c.make(t).NewEncoder()
		var b, plain sse.Batch
		var wire, text []byte
		var ends [][2]int // of each batch, in wire and text
		for _, fill := range fillings(t)[:7] {
			b.ResetFor(e)
			plain.Reset()
			fill(&b)
			fill(&plain)
			wire, text = append(wire, b.Bytes()...), append(text, plain.Bytes()...)
			ends = append(ends, [2]int{len(wire), len(text)})
		}
		for cut, batch, due := 0, 0, 0; cut <= len(wire); cut++ {
			for ; batch < len(ends) && ends[batch][0] <= cut; batch++ {
				due = ends[batch][1]
			}
			got, err := c.decoded(wire[:cut])
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				t.Fatalf("%s, cut at %d: %v", name, cut, err)
			}
			if !bytes.HasPrefix(text, got) || len(got) < due {
				t.Fatalf("%s, cut at %d: %d bytes of text, want a beginning of it with at least %d", name, cut, len(got), due)
			}
		}
	}
}

// A reader that stays hears each batch without the next.
func TestEncodedAtOnce(t *testing.T) {
	eachCoding(t, func(t *testing.T, c coding) {
		from, to := io.Pipe()
		defer from.Close()
		wires, texts, heard := make(chan []byte, 100), make(chan int, 100), make(chan []byte)
		defer close(wires)
		defer close(texts)
		go func() { // a reader may leave a batch's last bytes for when it looks for more
			for wire := range wires {
				_, _ = to.Write(wire)
			}
		}()
		go func() {
			r, err := c.read(from)
			for n := range texts {
				got := make([]byte, n)
				if err == nil {
					_, err = io.ReadFull(r, got)
				}
				heard <- got
			}
		}()
		e := c.make(t).NewEncoder()
		for i, fill := range fillings(t) {
			var b, plain sse.Batch
			b.ResetFor(e)
			fill(&b)
			fill(&plain)
			wires <- b.Bytes()
			texts <- plain.Len()
			select {
			case got := <-heard:
				if !bytes.Equal(got, plain.Bytes()) {
					t.Fatalf("batch %d: read another text", i)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("batch %d was not heard until another came", i)
			}
		}
	})
}

// An event that many hear is compressed once, and not at all where nobody asked
// or it is too small (rule 5). The race detector judges the sharing.
func TestEncodedOnce(t *testing.T) {
	var calls atomic.Int32
	encodeAll := newZstd(t).EncodeAll
	c := sse.Zstd(func(src, dst []byte) []byte { calls.Add(1); return encodeAll(src, dst) })
	large, small := mustFrame(t, "chat", messages(t, 1, 600)[0]), mustFrame(t, "chat", messages(t, 1, 300)[0])
	var plain sse.Batch
	plain.Frame(nil, large)
	if n := calls.Load(); n != 0 {
		t.Errorf("compressed %d times for text", n)
	}
	deliver := func(i int) {
		var b sse.Batch
		b.ResetFor(c.NewEncoder())
		b.Frame(fmt.Append(nil, i), small)
		b.Frame(fmt.Append(nil, i), large)
		got, err := codings["zstd"].decoded(b.Bytes())
		plain := sse.Batch{}
		plain.Frame(fmt.Append(nil, i), small)
		plain.Frame(fmt.Append(nil, i), large)
		if err != nil || !bytes.Equal(got, plain.Bytes()) {
			t.Errorf("stream %d: %v, read %q", i, err, got)
		}
	}
	deliver(0)
	var streams sync.WaitGroup
	for i := range 8 {
		streams.Go(func() { deliver(i) })
	}
	streams.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("compressed %d times for 9 event streams, want once", n)
	}
}

// It is smaller where it is worth its while, and next to nothing larger where
// it is not.
func TestEncodedSizes(t *testing.T) {
	for _, name := range []string{"gzip", "zstd"} {
		for size, want := range map[int]float64{80: 1.25, 600: 0.85, 5000: 0.6} {
			e := codings[name].make(t).NewEncoder()
			var wire, text int
			for _, m := range messages(t, 100, size) {
				var b, plain sse.Batch
				f := mustFrame(t, "chat", m)
				b.ResetFor(e)
				b.Frame([]byte("c1.2a-7f3"), f)
				plain.Frame([]byte("c1.2a-7f3"), f)
				wire, text = wire+len(b.Bytes()), text+plain.Len()
			}
			ratio := float64(wire) / float64(text)
			t.Logf("%s: an event of %d bytes becomes %d", name, text/100, wire/100)
			if ratio > want {
				t.Errorf("%s: messages of %d bytes become %.2f of that, want at most %.2f", name, size, ratio, want)
			}
		}
	}
}

// What a batch keeps over Reset is its capacity, and not its encoding.
func TestEncodedReset(t *testing.T) {
	var b sse.Batch
	b.ResetFor(sse.Gzip().NewEncoder())
	b.Event(nil, "chat", bytes.Repeat([]byte("x"), 100<<10))
	b.Bytes()
	if b.Cap() < 100<<10 {
		t.Errorf("Cap is %d after 100 KiB", b.Cap())
	}
	b.Event(nil, "chat", []byte("x")) // an open run
	b.Reset()
	b.Event(nil, "chat", []byte("y"))
	if got := string(b.Bytes()); got != "event: chat\ndata: y\n\n" {
		t.Errorf("after Reset: %q", got)
	}
}

// Any batches, in any order, are read as their text.
func FuzzEncoded(f *testing.F) {
	f.Add([]byte("hello"), []byte{0, 200, 3, 7, 255})
	f.Add(bytes.Repeat([]byte("abc"), 1000), []byte{255, 254, 253, 5, 9, 13, 1, 2, 3})
	compressors := map[string]*sse.Compressor{}
	for name, c := range codings {
		compressors[name] = c.make(f)
	}
	f.Fuzz(func(t *testing.T, data, script []byte) {
		for name, c := range codings {
			e := compressors[name].NewEncoder()
			var b, plain sse.Batch
			var wire, text []byte
			b.ResetFor(e)
			for i, step := range script {
				part := bytes.Repeat(data[len(data)*(i%4)/4:], int(step)/16)
				frame := mustFrame(t, "chat", part)
				for _, b := range []*sse.Batch{&b, &plain} {
					switch step % 8 {
					case 0, 1:
						b.Frame([]byte{'a' + step%26}, frame)
					case 2:
						b.Frame(nil, frame)
					case 3, 4:
						b.Event([]byte{'a' + step%26}, "", part)
					case 5:
						b.Comment("note")
					case 6:
						b.Bytes() // one may look at any time
					}
				}
				if step%8 == 7 {
					wire, text = append(wire, b.Bytes()...), append(text, plain.Bytes()...)
					b.ResetFor(e)
					plain.Reset()
				}
			}
			b.End()
			wire, text = append(wire, b.Bytes()...), append(text, plain.Bytes()...)
			if got, err := c.decoded(wire); err != nil || !bytes.Equal(got, text) {
				t.Fatalf("%s: %v, and the text is right: %v", name, err, bytes.Equal(got, text))
			}
		}
	})
}
