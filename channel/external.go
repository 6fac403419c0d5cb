package channel

import (
	"fmt"
	"strings"

	"github.com/ocsigo/comet/scope"
)

// ExternalConfig says where hearing another instance's channel begins, for
// every reader at the moment it connects.
type ExternalConfig struct {
	History int  // how many of the last values are heard first. Default: 1
	FromNow bool // none are: the way to say a History of 0
	Newest  bool // the channel is a newest one there: its value is heard first
}

// External returns a Ref to a site channel of another instance, whose event
// streams are at url. The page's browser connects there by itself; nothing is
// opened or asked before. That instance must name this one in Config.Origins,
// and its channel must have a name.
//
// Nothing can be checked here but the arguments, and Open does that, which an
// external Ref needs for itself or with others of the same url: a bad url (it
// has to be the endpoint's, https://host/comet or a path on this host, without
// query) or name, a History below 0, fields that contradict each other, or two
// configs. For cookies to reach that instance the page opens
// new EventSource(url, {withCredentials: true}).
func External(url, name string, config ...ExternalConfig) scope.Ref {
	url, name = strings.Clone(url), strings.Clone(name)
	c, err := one("External", config)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return scope.Faulty(fmt.Errorf("external channel %s: %w", name, err))
	}
	return scope.External(url, name, c.history(), c.Newest)
}

func (c ExternalConfig) check() error {
	if c.FromNow && (c.History != 0 || c.Newest) || c.Newest && c.History > 1 {
		return fmt.Errorf("%w: History %d, FromNow %v, Newest %v: set one of them", ErrBadConfig, c.History, c.FromNow, c.Newest)
	}
	return nil
}

func (c ExternalConfig) history() int {
	if c.History == 0 && !c.FromNow {
		return 1
	}
	return c.History
}
