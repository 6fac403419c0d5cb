// Package otel shows a Comet Site to OpenTelemetry:
//
//	registration, err := cometotel.Observe(site, provider.Meter("comet"))
//
// (imported as cometotel "github.com/ocsigo/comet/metrics/otel"). It is a module of its
// own: who does not import it does not have OpenTelemetry, and it needs no more of that
// than the API of metrics.
//
// What the names mean is what [scope.Stats] says of the figures they show;
// docs/operations.md lists them. Attributes are bounded: kinds, reasons and causes have a
// few values each. A channel's name is an attribute only for the channels that
// Config.Channels lists.
package otel

import (
	"context"
	"errors"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/ocsigo/comet/scope"
)

// Config says what is shown besides.
type Config struct {
	// Channels are the site channels that are shown one by one, in addition to the
	// sums by kind. One that there is not, or not yet, is left out. Default: none.
	Channels []string
	// Attributes are put on everything; with several Sites at one meter each needs its
	// own. Default: none.
	Attributes []attribute.KeyValue
}

// Names of attributes.
const (
	KindKey    = attribute.Key("comet.channel.kind")
	ChannelKey = attribute.Key("comet.channel.name")
	CauseKey   = attribute.Key("comet.cause")
	ReasonKey  = attribute.Key("comet.reason")
	BoundKey   = attribute.Key("comet.write.bound") // seconds
)

// Observe shows site through meter, until the Registration is unregistered. A reading
// costs what [scope.Site.Stats] does, twice with Config.Channels, and blocks for nothing
// else. Errors: the meter's, and what is misconfigured.
func Observe(site *scope.Site, meter metric.Meter, config ...Config) (metric.Registration, error) {
	o := &observer{site: site}
	switch {
	case site == nil || meter == nil:
		return nil, errors.New("comet: metrics/otel: Observe needs a site, that of comet.Config.Site, and a meter")
	case len(config) > 1:
		return nil, errors.New("comet: metrics/otel: Observe takes one Config: put everything into one")
	case len(config) == 1:
		o.channels, o.common = slices.Clone(config[0].Channels), slices.Clone(config[0].Attributes)
	}
	m := maker{meter: meter}
	o.make(&m)
	if m.err != nil {
		return nil, m.err
	}
	return meter.RegisterCallback(o.observe, m.made...)
}

// An observer asks the Site at each reading, and keeps nothing.
type observer struct {
	site     *scope.Site
	channels []string
	common   []attribute.KeyValue

	streams, sessions, processes, attached, publishing, publishingBytes metric.Int64ObservableUpDownCounter
	opened, ended, full, writes, within                                 metric.Int64ObservableCounter
	wait                                                                metric.Float64ObservableCounter
	figures                                                             []figure
}

// A figure is one of scope.Figures, by kind and by name.
type figure struct {
	of      func(*scope.Figures) int64
	kinds   metric.Int64Observable
	channel metric.Int64Observable // nil: it means nothing of one
}

func (o *observer) make(m *maker) {
	o.streams = m.upDown("comet.streams", "{stream}", "Event streams that are open.")
	o.opened = m.counter("comet.streams.opened", "{stream}", "Event streams that were let in.")
	o.ended = m.counter("comet.streams.ended", "{stream}", "Event streams that ended, by cause.")
	o.sessions = m.upDown("comet.sessions", "{session}", "Sessions that have client processes on this node.")
	o.processes = m.upDown("comet.processes", "{process}", "Client processes on this node: tabs, those that are away included.")
	o.attached = m.upDown("comet.processes.attached", "{process}", "Client processes that an event stream carries.")
	o.full = m.counter("comet.full", "{notice}", "Times that a reader was told that values are not to be had any more, by reason.")
	o.publishing = m.upDown("comet.publishing", "{value}", "Values that wait for a shared engine to take them.")
	o.publishingBytes = m.upDown("comet.publishing.size", "By", "Bytes of the values that wait for a shared engine to take them.")
	o.writes = m.counter("comet.writes", "{write}", "Batches that were written to event streams.")
	o.within = m.counter("comet.writes.within", "{write}", "Batches that the peer took within the bound.")
	o.wait = m.seconds("comet.write.wait", "How long peers kept writes waiting, in all.")

	m.gauge(o, "channels", "{channel}", "Channels there are.", false, func(f *scope.Figures) int64 { return int64(f.Channels) })
	m.gauge(o, "readers", "{reader}", "Readers there are: event streams times the channels each hears.", true, func(f *scope.Figures) int64 { return int64(f.Readers) })
	m.gauge(o, "values.waiting", "{value}", "Values that readers have before them, in all.", true, func(f *scope.Figures) int64 { return int64(f.Waiting) })
	m.count(o, "published", "Values of senders on this node that were taken.", func(f *scope.Figures) int64 { return int64(f.Published) })
	m.count(o, "arrived", "Values that came to this node, other nodes' included.", func(f *scope.Figures) int64 { return int64(f.Arrived) })
	m.count(o, "replayed", "Values that waited for readers when they came.", func(f *scope.Figures) int64 { return int64(f.Replayed) })
	m.count(o, "passed", "Values that readers have behind them: delivered, coalesced and missed, counted apart from these.", func(f *scope.Figures) int64 { return int64(f.Passed) })
	m.count(o, "delivered", "Values given to connections.", func(f *scope.Figures) int64 { return int64(f.Delivered) })
	m.count(o, "coalesced", "Values of newest channels that a newer one took the place of.", func(f *scope.Figures) int64 { return int64(f.Coalesced) })
	m.count(o, "missed", "Values in whose place readers were told full.", func(f *scope.Figures) int64 { return int64(f.Missed) })
	m.count(o, "unsent", "Values that waited for readers when they left.", func(f *scope.Figures) int64 { return int64(f.Unsent) })
	m.count(o, "pulled", "Values read because a tab asked.", func(f *scope.Figures) int64 { return int64(f.Pulled) })
	m.most(o)
}

// A maker makes instruments, and keeps the first error.
type maker struct {
	meter metric.Meter
	made  []metric.Observable
	err   error
}

func (m *maker) keep(i metric.Observable, err error) {
	m.made, m.err = append(m.made, i), errors.Join(m.err, err)
}

func (m *maker) upDown(name, unit, help string) metric.Int64ObservableUpDownCounter {
	i, err := m.meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(help))
	m.keep(i, err)
	return i
}

func (m *maker) counter(name, unit, help string) metric.Int64ObservableCounter {
	i, err := m.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(help))
	m.keep(i, err)
	return i
}

func (m *maker) seconds(name, help string) metric.Float64ObservableCounter {
	i, err := m.meter.Float64ObservableCounter(name, metric.WithUnit("s"), metric.WithDescription(help))
	m.keep(i, err)
	return i
}

func (m *maker) gauge(o *observer, name, unit, help string, channel bool, of func(*scope.Figures) int64) {
	f := figure{of: of, kinds: m.upDown("comet."+name, unit, help)}
	if channel {
		f.channel = m.upDown("comet.channel."+name, unit, help)
	}
	o.figures = append(o.figures, f)
}

func (m *maker) count(o *observer, name, help string, of func(*scope.Figures) int64) {
	o.figures = append(o.figures, figure{
		of: of, kinds: m.counter("comet.values."+name, "{value}", help), channel: m.counter("comet.channel.values."+name, "{value}", help),
	})
}

// most is no sum over anything: a gauge.
func (m *maker) most(o *observer) {
	make := func(name string) metric.Int64ObservableGauge {
		i, err := m.meter.Int64ObservableGauge(name, metric.WithUnit("{value}"), metric.WithDescription("Values before the reader that is furthest behind."))
		m.keep(i, err)
		return i
	}
	o.figures = append(o.figures, figure{
		of:    func(f *scope.Figures) int64 { return int64(f.MaxWaiting) },
		kinds: make("comet.values.waiting.most"), channel: make("comet.channel.values.waiting.most"),
	})
}

// with returns the attributes of one observation.
func (o *observer) with(more ...attribute.KeyValue) metric.ObserveOption {
	return metric.WithAttributes(slices.Concat(o.common, more)...)
}

func (o *observer) observe(_ context.Context, to metric.Observer) error {
	st := o.site.Stats()
	all := o.with()
	to.ObserveInt64(o.streams, int64(st.Streams), all)
	to.ObserveInt64(o.opened, int64(st.Opened), all)
	to.ObserveInt64(o.sessions, int64(st.Sessions), all)
	to.ObserveInt64(o.processes, int64(st.Processes), all)
	to.ObserveInt64(o.attached, int64(st.Attached), all)
	to.ObserveInt64(o.publishing, int64(st.Publishing), all)
	to.ObserveInt64(o.publishingBytes, int64(st.PublishingBytes), all)
	to.ObserveInt64(o.writes, int64(st.Writes.Count), all)
	to.ObserveFloat64(o.wait, st.Writes.Sum.Seconds(), all)
	for i, n := range st.Writes.Buckets {
		to.ObserveInt64(o.within, int64(n), o.with(BoundKey.Float64(scope.WriteBounds[i].Seconds())))
	}
	for _, cause := range scope.Causes {
		to.ObserveInt64(o.ended, int64(st.Ended[cause]), o.with(CauseKey.String(cause)))
	}
	for _, reason := range scope.FullReasons {
		to.ObserveInt64(o.full, int64(st.Full[reason]), o.with(ReasonKey.String(reason)))
	}
	for _, kind := range scope.Kinds {
		f, of := st.Kinds[kind], o.with(KindKey.String(kind))
		for _, m := range o.figures {
			to.ObserveInt64(m.kinds, m.of(&f), of)
		}
	}
	o.observeChannels(to)
	return nil
}

func (o *observer) observeChannels(to metric.Observer) {
	if len(o.channels) == 0 {
		return
	}
	for _, ch := range o.site.ChannelStats(o.channels...) {
		of := o.with(ChannelKey.String(ch.Name))
		for _, m := range o.figures {
			if m.channel != nil {
				to.ObserveInt64(m.channel, m.of(&ch.Figures), of)
			}
		}
	}
}
