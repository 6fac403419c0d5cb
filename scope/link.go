package scope

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"github.com/ocsigo/comet/internal/cursor"
)

// A Link is an event stream's address: Query belongs behind the path of this
// Comet's endpoint, or behind Base, another instance's URL.
type Link struct{ Base, Query string }

// Link samples every ref once and returns the address of an event stream that
// hears them, and with p every channel that the process has by now, named by a ref
// or not. path is how long the URL
// is before the query.
//
// The errors are ErrBadRef (of another site, process or instance, named twice,
// with a beginning that the channel does not have), ErrNameTaken (a private
// channel and a site channel of one name), ErrTooMany (SiteConfig.MaxChannels)
// and ErrTooLong (SiteConfig.MaxAddress).
func (s *Site) Link(ctx context.Context, p *ClientProcess, path int, refs ...Ref) (Link, error) {
	if err := ctx.Err(); err != nil {
		return Link{}, err
	}
	for _, r := range refs {
		if r == nil {
			return Link{}, fmt.Errorf("%w: a Ref is nil", ErrBadRef)
		}
		if err := r.ref().fault; err != nil {
			return Link{}, fmt.Errorf("%w: %w", ErrBadRef, err)
		}
	}
	if len(refs) > 0 && refs[0].ref().external != nil {
		return s.linkExternal(refs)
	}
	l := linking{site: s, process: p, names: map[string]bool{}}
	for _, r := range refs {
		if err := l.add(r.ref()); err != nil {
			return Link{}, err
		}
	}
	if p != nil {
		if err := l.own(p); err != nil {
			return Link{}, err
		}
	}
	query := string(cursor.AppendAddress(nil, l.address))
	if err := s.checkLength(path+1+len(query), 0, len(l.address.Channels), 0, p != nil); err != nil {
		return Link{}, err
	}
	if p != nil {
		p.hearAll()
	}
	return Link{Query: query}, nil
}

type linking struct {
	site    *Site
	process *ClientProcess
	address cursor.Address
	names   map[string]bool
}

func (l *linking) add(r ref) error {
	if r.external != nil {
		return fmt.Errorf("%w: %s is of another instance; give external channels an Open of their own", ErrBadRef, r.external.name)
	}
	name := r.handle.Name()
	if l.names[name] {
		return fmt.Errorf("%w: the name %s, of two channels given to one Open", ErrNameTaken, name)
	}
	l.names[name] = true
	switch c := r.handle.core.(type) {
	case *privateChannel:
		return l.addPrivate(c, r)
	case *siteChannel:
		return l.addSite(c, r)
	}
	return fmt.Errorf("%w: %s", ErrBadRef, name)
}

func (l *linking) addPrivate(c *privateChannel, r ref) error {
	switch {
	case l.process == nil:
		return fmt.Errorf("%w: %s is private to a client process; call ClientProcess(c) in this request", ErrBadRef, c.spec.Name)
	case c.process != l.process:
		return fmt.Errorf("%w: %s is private to another client process", ErrBadRef, c.spec.Name)
	case r.begins != fromNow:
		return fmt.Errorf("%w: %s is private to its tab: it has no history, and is heard from its beginning", ErrBadRef, c.spec.Name)
	}
	return nil
}

func (l *linking) addSite(c *siteChannel, r ref) error {
	switch {
	case c.site != l.site:
		return fmt.Errorf("%w: %s is of another Site than this Comet's", ErrBadRef, c.spec.Name)
	case len(l.address.Channels) >= l.site.config.MaxChannels:
		return fmt.Errorf("%w: an event stream hears %d site channels (SiteConfig.MaxChannels)", ErrTooMany, l.site.config.MaxChannels)
	case r.begins == fromHistory && r.history < 0:
		return fmt.Errorf("%w: %s: History(%d); use 0 or more", ErrBadRef, c.spec.Name, r.history)
	case r.begins == fromPosition && r.at.IsZero():
		return fmt.Errorf("%w: %s: After the zero Position; use one that Recent gave", ErrBadRef, c.spec.Name)
	}
	at := r.at
	switch {
	case r.begins == fromHistory:
		at = c.follower.back(r.history)
	case r.begins == fromNow && c.follower.newest:
		at = c.follower.back(1)
	case r.begins == fromNow:
		at = c.follower.back(0)
	}
	l.address.Channels = append(l.address.Channels, cursor.Channel{Name: c.spec.Name, At: at})
	return nil
}

// own puts the request's process into the address. Its bare event names must not
// be those of site channels (rule 3).
func (l *linking) own(p *ClientProcess) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.ended() {
		return fmt.Errorf("%w: it ended: %w", ErrNoProcess, p.state.err())
	}
	for _, c := range l.address.Channels {
		if p.names[c.Name] != nil {
			return fmt.Errorf("%w: %s, of a site channel and of one of the client process", ErrNameTaken, c.Name)
		}
	}
	l.address.Process = cursor.Process{Token: p.token, Number: max(p.received, p.forgotten)}
	l.address.Group = p.group()
	return nil
}

// group is what the pages of one session have in common, and may show: by it they
// find each other in the browser. Nothing leads back from it to the session.
func (p *ClientProcess) group() string {
	sum := sha256.Sum256([]byte("comet group\x00" + p.session))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// hearAll has every channel heard that the process has by now: they are private
// to the page that is being made, so who else should hear them.
func (p *ClientProcess) hearAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.boxes {
		if !c.heard {
			p.hear(c)
		}
	}
}

// The most that an item of a cursor takes, with its separator: an index and a
// sequence of ten digits, a tag, an epoch, a process of the address and one with
// its slot, but for its token.
const (
	tagLength   = 5
	indexItem   = 14
	tagItem     = 8
	epochItem   = 18
	ownItem     = 20
	processItem = 24
)

// checkLength keeps the address and the cursor that it may grow to within what
// the server's header buffer takes (rule 4). The cursor may come twice: a page
// that made a new EventSource has it in the URL, by after=, and then in the
// header. named is what registered channels add to it.
func (s *Site) checkLength(url, named, channels, attached int, own bool) error {
	text := tagLength + named + channels*indexItem + epochItem + attached*(processItem+s.tokenLength())
	if s.caps.Tags {
		text += channels * tagItem
	}
	if own {
		text += ownItem
	}
	if text <= cursor.MaxLength && url+len("&after=")+2*text <= s.config.MaxAddress {
		return nil
	}
	return fmt.Errorf("%w: the URL takes %d bytes and its cursor up to %d (at most %d), once in the URL and once in a header; allowed are %d together: "+
		"hear fewer channels, give them shorter names, or raise SiteConfig.MaxAddress and fiber.Config.ReadBufferSize alike",
		ErrTooLong, url, text, cursor.MaxLength, s.config.MaxAddress)
}

// linkExternal returns the address of another instance's event stream.
func (s *Site) linkExternal(refs []Ref) (Link, error) {
	var address cursor.Address
	base := refs[0].ref().external.url
	seen := map[string]bool{}
	for _, r := range refs {
		e := r.ref().external
		if e == nil || e.url != base {
			return Link{}, fmt.Errorf("%w: an Open with external channels takes those of one instance, %s, and nothing else", ErrBadRef, base)
		}
		if err := e.check(seen); err != nil {
			return Link{}, err
		}
		address.Channels = append(address.Channels, cursor.Channel{Name: e.name, Last: e.history, Newest: e.newest})
	}
	query := string(cursor.AppendAddress(nil, address))
	if err := s.checkLength(len(base)+1+len(query), 0, len(refs), 0, false); err != nil {
		return Link{}, err
	}
	return Link{Base: base, Query: query}, nil
}

func (e *external) check(seen map[string]bool) error {
	if err := checkName("external channel", e.name); err != nil {
		return err
	}
	if seen[e.name] {
		return fmt.Errorf("%w: the external channel %s is named twice", ErrNameTaken, e.name)
	}
	seen[e.name] = true
	u, err := url.Parse(e.url)
	if err != nil || u.Path == "" || u.Fragment != "" || u.RawQuery != "" || u.User != nil ||
		!(u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "" && strings.HasPrefix(e.url, "/")) {
		return fmt.Errorf("%w: external channel %s at %.100q: use the URL of the other instance's endpoint, https://host/comet or a path on this host, without query and fragment",
			ErrBadRef, e.name, e.url)
	}
	if e.history < 0 || e.newest && e.history > 1 {
		return fmt.Errorf("%w: external channel %s: history %d, newest %v: use a history of 0 or more, or newest", ErrBadRef, e.name, e.history, e.newest)
	}
	return nil
}
