package harness

// What is measured, as results name it. Microseconds are of the server's user and
// system time.
const (
	RSSSlope   = "rss_b"      // idle bytes a stream, from a tenth of the streams to all
	RSSAfter   = "rss_used_b" // the same after all cases
	HeapSlope  = "heap_b"
	Goroutines = "goroutines" // a stream
	Connect    = "connect_us"
	Replay     = "replay_us" // of a reconnect, with the replay of ten values

	Paced64    = "paced64_us" // of a delivery
	Paced64P50 = "paced64_p50_ms"
	Paced64P99 = "paced64_p99_ms"
	Paced1K    = "paced1k_us"
	Paced1KP50 = "paced1k_p50_ms"
	Paced1KP99 = "paced1k_p99_ms"
	Flat64     = "flat64_us"
	Flat1K     = "flat1k_us"
	Burst64    = "burst64_us"
	Burst1K    = "burst1k_us"
	PrivateOne = "private_us" // of a private message

	PublishFree       = "publish_us" // wall time of one publish, to a hundred readers
	PublishStalled    = "publish_stalled_us"
	PublishFreeP99    = "publish_p99_ms" // of the deliveries to the other readers
	PublishStalledP99 = "publish_stalled_p99_ms"

	PublishNS     = "publish_ns" // of one publish that nobody hears
	PublishAllocs = "publish_allocs"
)

// A Sample is one figure of one run. A case that failed has a Fault in place of
// a Value: a figure with a fault is no figure.
type Sample struct {
	Run    int     `json:"run"`
	Row    string  `json:"row"`
	N      int     `json:"n"` // streams, or channels for PublishNS
	Metric string  `json:"metric"`
	Value  float64 `json:"value,omitempty"`
	Fault  string  `json:"fault,omitempty"`
}
