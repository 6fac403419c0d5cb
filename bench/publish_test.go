package bench

import (
	"fmt"
	"testing"

	"github.com/ocsigo/comet/channel"
)

// BenchmarkSend is Sender.Send of a struct as JSON, to a site channel among
// others that nobody hears.
func BenchmarkSend(b *testing.B) {
	type message struct {
		User, Text string
		At         int64
	}
	for _, channels := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprintf("channels=%d", channels), func(b *testing.B) {
			site := newSite(b)
			newChannels(b, site, channels-1)
			sender, stream := channel.Push[message]()
			if _, err := channel.Create(site, stream, channel.Config{Name: "chat"}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := sender.Send(background, message{"ada", "what people say", 1700000000}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPublish is the same below the marshalling, to more and more event
// streams, which are woken and do not collect: each is stalled.
func BenchmarkPublish(b *testing.B) {
	for _, streams := range []int{0, 1, 32, 1000, 10_000} {
		b.Run(fmt.Sprintf("stalled=%d", streams), func(b *testing.B) {
			site := newSite(b)
			c := newChannels(b, site, 1)[0]
			for range streams {
				newTab(b, site, nil, unheard, c)
			}
			feed := c.Feed()
			b.ReportAllocs()
			for b.Loop() {
				put(b, feed)
			}
		})
	}
}
