package proxies

import (
	"strings"
	"testing"

	"github.com/ocsigo/comet/middleware/stock/around"
)

// TestPageThroughProxies: through each proxy a page opens, hears values one by one, has a command carried out, is cut, and comes
// back to what it missed.
func TestPageThroughProxies(t *testing.T) {
	all := documentedProxies(t)
	for i := range all {
		all[i].name += ", as documented"
	}
	for _, p := range append(all, proxies...) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			a := around.Serve(t, around.Setup{})
			a.Through("http://" + p.before(t, strings.TrimPrefix(a.Origin(), "http://")))
			page, err := a.Open("Accept-Encoding", "identity") // TestThroughProxies has them compress
			if err == nil {
				err = page.Everything()
			}
			if err != nil {
				t.Error(err)
			}
			a.Logged("")
		})
	}
}
