package sse_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ocsigo/comet/sse"
)

var payload = []byte(`{"user":"ada","text":"the quick brown fox jumps over the lazy dog","at":1700000000}`)

func BenchmarkNewFrame(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sse.NewFrame("chat", payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBatchFrame(b *testing.B) {
	f := mustFrame(b, "chat", payload)
	benchmarkBatch(b, func(batch *sse.Batch, id []byte) { batch.Frame(id, f) })
}

func BenchmarkBatchEvent(b *testing.B) {
	benchmarkBatch(b, func(batch *sse.Batch, id []byte) { batch.Event(id, "chat", payload) })
}

// BenchmarkBatchEncoded is what an event stream pays for being compressed: for a
// large event that was compressed for another, for one of its own, and for the
// small ones of a replay.
func BenchmarkBatchEncoded(b *testing.B) {
	for _, name := range []string{"gzip", "zstd"} {
		for _, size := range []int{80, 600, 1200, 5000} {
			data := messages(b, 1, size)[0]
			f := mustFrame(b, "chat", data)
			for kind, add := range map[string]func(*sse.Batch, []byte){
				"shared": func(batch *sse.Batch, id []byte) { batch.Frame(id, f) },
				"own":    func(batch *sse.Batch, id []byte) { batch.Event(id, "chat", data) },
			} {
				b.Run(fmt.Sprintf("%s/%s/%dB", name, kind, size), func(b *testing.B) {
					e := codings[name].make(b).NewEncoder()
					var batch sse.Batch
					b.ReportAllocs()
					for b.Loop() {
						batch.ResetFor(e)
						add(&batch, []byte("c1.2a-7f3,c2.19"))
						batch.Bytes()
					}
				})
			}
		}
		b.Run(name+"/100 of 80B", func(b *testing.B) {
			all, e := messages(b, 100, 80), codings[name].make(b).NewEncoder()
			var batch, plain sse.Batch
			for b.Loop() {
				batch.ResetFor(e)
				plain.Reset()
				for _, data := range all {
					batch.Event([]byte("c1.2a-7f3,c2.19"), "chat", data)
					plain.Event([]byte("c1.2a-7f3,c2.19"), "chat", data)
				}
				batch.Bytes()
			}
			b.ReportMetric(float64(len(batch.Bytes())), "B")
			b.ReportMetric(float64(plain.Len()), "B-as-text")
		})
	}
}

// benchmarkBatch measures one event in a batch that is reset every 64.
func benchmarkBatch(b *testing.B, add func(*sse.Batch, []byte)) {
	var batch sse.Batch
	id := []byte("c1.2a-7f3,c2.19")
	b.ReportAllocs()
	for b.Loop() {
		if batch.Events() == 64 {
			batch.Reset()
		}
		add(&batch, id)
	}
}

// BenchmarkLargeEvent writes a megabyte, in one line and in many.
func BenchmarkLargeEvent(b *testing.B) {
	for name, line := range map[string]string{"one line": "x", "lines of 80": string(bytes.Repeat([]byte("x"), 79)) + "\n", "empty lines": "\r"} {
		b.Run(name, func(b *testing.B) {
			data := bytes.Repeat([]byte(line), 1<<20/len(line))
			var batch sse.Batch
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				batch.Reset()
				batch.Event(nil, "chat", data)
			}
		})
	}
}

// BenchmarkRead reads a stream of 1000 small events, and one of 1 MB events.
func BenchmarkRead(b *testing.B) {
	for name, data := range map[string][]byte{"small": payload, "1 MB": bytes.Repeat([]byte("x"), 1<<20)} {
		b.Run(name, func(b *testing.B) {
			var batch sse.Batch
			for batch.Events() < 1000 && batch.Len() < 4<<20 {
				batch.Event([]byte("c1.2a-7f3,c2.19"), "chat", data)
			}
			b.SetBytes(int64(batch.Len()))
			b.ReportAllocs()
			for b.Loop() {
				events := 0
				for _, err := range sse.Read(bytes.NewReader(batch.Bytes())) {
					if err != nil {
						b.Fatal(err)
					}
					events++
				}
				if events != batch.Events() {
					b.Fatalf("read %d events of %d", events, batch.Events())
				}
			}
		})
	}
}
