// Package prometheus shows a Comet Site to Prometheus:
//
//	registry.MustRegister(cometprometheus.NewCollector(site))
//
// (imported as cometprometheus "github.com/ocsigo/comet/metrics/prometheus"). It is a
// module of its own: who does not import it does not have client_golang.
//
// What the names mean is what [scope.Stats] says of the figures they show;
// docs/operations.md lists them, and what to watch. Labels are bounded: kinds, reasons and
// causes have a few values each. A channel's name is a label only for the channels
// that Config.Channels lists.
package prometheus

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ocsigo/comet/scope"
)

// Config says what is shown besides.
type Config struct {
	// Channels are the site channels that are shown one by one, in addition to the
	// sums by kind. One that there is not, or not yet, is left out. Default: none.
	Channels []string
	// Labels are put on everything; with several Sites in one registry each needs its
	// own. Default: none.
	Labels prometheus.Labels
}

// A collector asks the Site at each scrape, and keeps nothing.
type collector struct {
	site     *scope.Site
	channels []string
	whole    wholes
	byKind   []figure
	byName   []figure
}

// wholes are the metrics of the Site itself.
type wholes struct {
	streams, opened, ended, sessions, processes, attached, full, publishing, publishingBytes, writes *prometheus.Desc
}

// A figure is one of scope.Figures.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*scope.Figures) float64
}

// NewCollector returns what shows site to a registry. A scrape costs what
// [scope.Site.Stats] does, twice with Config.Channels, and blocks for nothing else. It
// panics when site is nil, or more than one config is given.
func NewCollector(site *scope.Site, config ...Config) prometheus.Collector {
	var cfg Config
	switch {
	case site == nil:
		panic("comet: metrics/prometheus: the site is nil: give NewCollector the one of comet.Config.Site")
	case len(config) > 1:
		panic("comet: metrics/prometheus: NewCollector takes one Config: put everything into one")
	case len(config) == 1:
		cfg = config[0]
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("comet_"+name, help, labels, maps.Clone(cfg.Labels))
	}
	c := &collector{
		site: site, channels: slices.Clone(cfg.Channels),
		whole: wholes{
			streams:         desc("streams", "Event streams that are open."),
			opened:          desc("streams_opened_total", "Event streams that were let in."),
			ended:           desc("streams_ended_total", "Event streams that ended, by cause.", "cause"),
			sessions:        desc("sessions", "Sessions that have client processes on this node."),
			processes:       desc("processes", "Client processes on this node: tabs, those that are away included."),
			attached:        desc("processes_attached", "Client processes that an event stream carries."),
			full:            desc("full_total", "Times that a reader was told that values are not to be had any more, by reason.", "reason"),
			publishing:      desc("publishing_values", "Values that wait for a shared engine to take them."),
			publishingBytes: desc("publishing_bytes", "Bytes of the values that wait for a shared engine to take them."),
			writes:          desc("write_wait_seconds", "How long a peer kept a write waiting; what it took at once counts as 0."),
		},
	}
	for _, f := range figures {
		c.byKind = append(c.byKind, f.describe(desc, "", "kind"))
		if f.name != "channels" {
			c.byName = append(c.byName, f.describe(desc, "channel_", "channel"))
		}
	}
	return c
}

// A kindOfFigure is a figure before it has a label.
type kindOfFigure struct {
	name, help string
	kind       prometheus.ValueType
	of         func(*scope.Figures) float64
}

func (k kindOfFigure) describe(desc func(name, help string, labels ...string) *prometheus.Desc, prefix, label string) figure {
	return figure{desc(prefix+k.name, k.help, label), k.kind, k.of}
}

// figures are the metrics of channels, by kind and by name.
var figures = []kindOfFigure{
	{"channels", "Channels there are.", prometheus.GaugeValue, func(f *scope.Figures) float64 { return float64(f.Channels) }},
	{"readers", "Readers there are: event streams times the channels each hears.", prometheus.GaugeValue, func(f *scope.Figures) float64 { return float64(f.Readers) }},
	{"values_waiting", "Values that readers have before them, in all.", prometheus.GaugeValue, func(f *scope.Figures) float64 { return float64(f.Waiting) }},
	{"values_waiting_most", "Values before the reader that is furthest behind.", prometheus.GaugeValue, func(f *scope.Figures) float64 { return float64(f.MaxWaiting) }},
	{"values_published_total", "Values of senders on this node that were taken.", prometheus.CounterValue, func(f *scope.Figures) float64 { return float64(f.Published) }},
	{"values_arrived_total", "Values that came to this node, other nodes' included.", prometheus.CounterValue, func(f *scope.Figures) float64 { return float64(f.Arrived) }},
	{"values_replayed_total", "Values that waited for readers when they came.", prometheus.CounterValue, func(f *scope.Figures) float64 { return float64(f.Replayed) }},
	{"values_passed_total", "Values that readers have behind them: delivered, coalesced and missed, counted apart from these.", prometheus.CounterValue, func(f *scope.Figures) float64 { return float64(f.Passed) }},
	{"values_delivered_total", "Values given to connections.", prometheus.CounterValue, func(f *scope.Figures) float64 { return float64(f.Delivered) }},
	{"values_coalesced_total", "Values of newest channels that a newer one took the place of.", prometheus.CounterValue, func(f *scope.Figures) float64 { return float64(f.Coalesced) }},
	{"values_missed_total", "Values in whose place readers were told full.", prometheus.CounterValue, func(f *scope.Figures) float64 { return float64(f.Missed) }},
	{"values_unsent_total", "Values that waited for readers when they left.", prometheus.CounterValue, func(f *scope.Figures) float64 { return float64(f.Unsent) }},
	{"values_pulled_total", "Values read because a tab asked.", prometheus.CounterValue, func(f *scope.Figures) float64 { return float64(f.Pulled) }},
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	w := &c.whole
	for _, d := range []*prometheus.Desc{
		w.streams, w.opened, w.ended, w.sessions, w.processes, w.attached, w.full, w.publishing, w.publishingBytes, w.writes,
	} {
		to <- d
	}
	for _, f := range slices.Concat(c.byKind, c.byName) {
		to <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	st := c.site.Stats()
	c.collectWhole(to, &st)
	for _, kind := range scope.Kinds {
		f := st.Kinds[kind]
		for _, m := range c.byKind {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.of(&f), kind)
		}
	}
	if len(c.channels) == 0 {
		return
	}
	for _, ch := range c.site.ChannelStats(c.channels...) {
		for _, m := range c.byName {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.of(&ch.Figures), ch.Name)
		}
	}
}

func (c *collector) collectWhole(to chan<- prometheus.Metric, st *scope.Stats) {
	w := &c.whole
	gauge := func(d *prometheus.Desc, v int) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(w.streams, st.Streams)
	gauge(w.sessions, st.Sessions)
	gauge(w.processes, st.Processes)
	gauge(w.attached, st.Attached)
	gauge(w.publishing, st.Publishing)
	gauge(w.publishingBytes, st.PublishingBytes)
	count(w.opened, st.Opened)
	for _, cause := range scope.Causes {
		count(w.ended, st.Ended[cause], cause)
	}
	for _, reason := range scope.FullReasons {
		count(w.full, st.Full[reason], reason)
	}
	buckets := make(map[float64]uint64, len(st.Writes.Buckets))
	for i, n := range st.Writes.Buckets {
		buckets[scope.WriteBounds[i].Seconds()] = n
	}
	to <- prometheus.MustNewConstHistogram(w.writes, st.Writes.Count, st.Writes.Sum.Seconds(), buckets)
}
