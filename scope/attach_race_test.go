package scope

import (
	"context"
	"sync"
	"testing"

	"github.com/ocsigo/comet/engine/memory"
)

// TestAttachesAtOnce: of relays that attach at the same time one carries the process, and
// is the one that is asked for its questions.
func TestAttachesAtOnce(t *testing.T) {
	s := NewSite(SiteConfig{Engine: memory.New(memory.Config{Nodes: true})})
	defer s.Shutdown(context.Background())
	p, err := s.NewProcess("s")
	if err != nil {
		t.Fatal(err)
	}
	n := s.node
	for range 20000 {
		const relays = 4
		var ranks [relays]uint64
		for i := range relays {
			_, u, _ := read(n.knocked(&unparcel{rest: parcel(nil).text(p.token).text("s")}))
			ranks[i] = u.number()
		}
		begin := make(chan struct{})
		var all sync.WaitGroup
		for i := range relays {
			all.Go(func() {
				<-begin
				n.attaches(&unparcel{rest: parcel(nil).text(p.token).text("s").text("n").number(uint64(i)).
					number(ranks[i]).number(1).number(0).flags(true, false, false, false).text("")})
			})
		}
		close(begin)
		all.Wait()
		p.mu.Lock()
		current, lodged, taken := p.current, p.lodged, p.taken
		p.mu.Unlock()
		if current != &lodged.hearing || lodged.rank != taken {
			t.Fatalf("the process is carried by rank %d, questions are heard of rank %d, the newest that came is %d", current.rank, lodged.rank, taken)
		}
	}
}
