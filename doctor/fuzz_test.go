package doctor_test

import (
	"encoding/json"
	"testing"

	"github.com/ocsigo/comet/doctor"
)

// FuzzJudge: whatever a page claims to have measured, the judgement is one that can be
// told, and does not grow beyond what was claimed.
func FuzzJudge(f *testing.F) {
	f.Add([]byte(`{"status":200,"header":{"Content-Type":"text/event-stream"},"seen":{"heartbeat":1},"ticks":[{"sent":1,"heard":1}]}`))
	f.Add([]byte(`{"status":200,"header":{"Content-Type":"text/event-stream"},"seen":{},"ticks":[{"sent":1e308,"heard":-1e308}],"idle":{"beats":-1},"command":{},"atOnce":{},"left":{},"returned":{"said":"a"}}`))
	f.Add([]byte(`{"status":-1}`))
	f.Add([]byte(`{"header":null,"error":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var m doctor.Measured
		if json.Unmarshal(data, &m) != nil {
			return
		}
		findings := doctor.Judge(m)
		text, err := json.Marshal(findings)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 64<<10+30*len(data) { // a value stands in few findings, escaped twice at most
			t.Fatalf("%d bytes of measurements are judged in %d", len(data), len(text))
		}
		if doctor.Healthy(findings) && (m.Status != 200 || m.Seen == nil) {
			t.Fatalf("healthy: %s", data)
		}
	})
}
