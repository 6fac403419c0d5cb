package cursor

import (
	"fmt"
	"hash/fnv"
	"net/url"
	"strconv"
	"strings"

	"github.com/ocsigo/comet/engine"
)

// An Address says what an event stream hears: at most one process of its own,
// and site channels with where each begins.
type Address struct {
	Process  Process // the zero Process: none of its own
	Group    string  // of the process's session, for its pages to find each other; "": none
	Channels []Channel
	PullAsk  bool   // unlimited channels are never read without a pull command
	Brief    bool   // it ends when everything was said; no part of what a cursor belongs to
	After    string // the cursor a page puts in when it re-creates its EventSource
}

// A Channel is a site channel's name and where hearing it begins: at a
// position, before its last values, or with its newest one.
type Channel struct {
	Name   string
	At     engine.Position // the zero Position: see Last and Newest
	Last   int
	Newest bool
}

// AppendAddress appends the query of an address, without '?' and without
// after= and wait=, which only a page adds, each time anew.
func AppendAddress(b []byte, a Address) []byte {
	b = append(b, "v="...)
	b = strconv.AppendInt(b, Version, 10)
	if a.Process.Token != "" {
		b = append(b, "&p="...)
		b = AppendProcess(b, a.Process.Token, a.Process.Number)
	}
	if a.Group != "" {
		b = append(b, "&g="...)
		b = append(b, a.Group...)
	}
	for _, c := range a.Channels {
		b = append(b, "&c="...)
		b = appendChannel(b, c)
	}
	if a.PullAsk {
		b = append(b, "&pull=ask"...)
	}
	return b
}

// A Tag is a short name of what an address says, which every cursor of its event
// streams carries: indices mean nothing to another address. It is no secret, and
// guards against mistakes, not against forgery.
type Tag [3]byte

// Tag returns the address's tag.
func (a Address) Tag() (t Tag) {
	h := fnv.New32a()
	_, _ = h.Write(AppendAddress(nil, a)) // never fails
	n := uint64(h.Sum32()) % (35 * 36 * 36)
	appendNumber(t[:0], n+36*36) // three digits
	return t
}

// AppendProcess appends TOKEN or TOKEN.NUMBER: a process, and the number after
// which it is to be heard.
func AppendProcess(b []byte, token string, number uint64) []byte {
	b = append(b, token...)
	if number > 0 {
		b = append(b, '.')
		b = appendNumber(b, number)
	}
	return b
}

// ParseProcess reads what AppendProcess writes, and TOKEN.0.
func ParseProcess(s string) (Process, error) {
	token, number, numbered := strings.Cut(s, ".")
	if !ValidToken(token) {
		return Process{}, fmt.Errorf("%w: the process %.20q… is no token", ErrBadAddress, token)
	}
	p := Process{Token: token}
	if !numbered {
		return p, nil
	}
	n, err := parseNumber(number)
	if err != nil {
		return Process{}, fmt.Errorf("%w: the process's number %.20q", ErrBadAddress, number)
	}
	p.Number = n
	return p, nil
}

func appendChannel(b []byte, c Channel) []byte {
	b = append(b, c.Name...)
	b = append(b, '@')
	switch {
	case c.Newest:
		return append(b, "newest"...)
	case c.At.IsZero():
		b = append(b, '-')
		return strconv.AppendInt(b, int64(c.Last), 10)
	default:
		b = append(b, c.At.Epoch...)
		b = append(b, '.')
		return appendSequence(b, c.At)
	}
}

// ParseChannel reads NAME, NAME@EPOCH.SEQ[.TAG], NAME@-COUNT or NAME@newest. A
// bare name begins now, as NAME@-0 does.
func ParseChannel(s string) (Channel, error) {
	name, from, _ := strings.Cut(s, "@")
	c := Channel{Name: name}
	if !ValidName(name) {
		return c, fmt.Errorf("%w: %.40q is no channel name", ErrBadAddress, name)
	}
	switch {
	case from == "":
		return c, nil
	case from == "newest":
		c.Newest = true
		return c, nil
	case from[0] == '-':
		n, err := strconv.ParseUint(from[1:], 10, 31)
		if err != nil {
			return c, fmt.Errorf("%w: channel %s from %.20q", ErrBadAddress, name, from)
		}
		c.Last = int(n)
		return c, nil
	}
	at, err := engine.ParsePosition(from)
	if err != nil {
		return c, fmt.Errorf("%w: channel %s: %w", ErrBadAddress, name, err)
	}
	c.At = at
	return c, nil
}

// ParseAddress reads an address's raw query. Parameters it does not know are
// passed over, so that an app or a proxy may add its own; v=, p=, g=, c=, pull=,
// wait= and after= are read strictly. An address without v= is of this version, another
// version is ErrVersion, anything else ErrBadAddress.
func ParseAddress(query string) (Address, error) {
	var a Address
	f, err := readFields(query)
	if err != nil {
		return a, err
	}
	if f.process.value != "" {
		if a.Process, err = ParseProcess(f.process.value); err != nil {
			return a, err
		}
		if a.Process.Number == 0 && strings.Contains(f.process.value, ".") {
			return a, fmt.Errorf("%w: the process's number is 0, which is not written", ErrBadAddress)
		}
	}
	if a.Group = f.group.value; a.Group != "" && !validGroup(a.Group) {
		return a, fmt.Errorf("%w: the group %.40q is none", ErrBadAddress, a.Group)
	}
	if a.Channels, err = parseChannels(f.channels); err != nil {
		return a, err
	}
	switch f.pull.value {
	case "", "auto":
	case "ask":
		a.PullAsk = true
	default:
		return a, fmt.Errorf("%w: pull=%.20q; allowed is pull=ask", ErrBadAddress, f.pull.value)
	}
	switch f.wait.value {
	case "":
	case "no":
		a.Brief = true
	default:
		return a, fmt.Errorf("%w: wait=%.20q; allowed is wait=no", ErrBadAddress, f.wait.value)
	}
	a.After = f.after.value
	return a, nil
}

// fields are a query's parameters that an address knows. They are read without
// url.Values, for every request and every command reads them.
type fields struct {
	version, process, group, pull, wait, after field
	channels                                   []string
}

type field struct {
	value string
	times int
}

func readFields(query string) (f fields, err error) {
	for pair := range strings.SplitSeq(query, "&") {
		if strings.Contains(pair, ";") {
			return f, fmt.Errorf("%w: a semicolon separates nothing in a query", ErrBadAddress)
		}
		key, value, _ := strings.Cut(pair, "=")
		if key, err = url.QueryUnescape(key); err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return f, fmt.Errorf("%w: %w", ErrBadAddress, err)
		}
		if key == "c" {
			f.channels = append(f.channels, value)
		} else if known := f.field(key); known != nil && known.times == 0 {
			*known = field{value, 1}
		} else if known != nil {
			known.times++
		}
	}
	return f, f.check()
}

func (f *fields) field(key string) *field {
	switch key {
	case "v":
		return &f.version
	case "p":
		return &f.process
	case "g":
		return &f.group
	case "pull":
		return &f.pull
	case "wait":
		return &f.wait
	case "after":
		return &f.after
	}
	return nil
}

// check refuses another version, whatever else stands there, and what stands
// there twice.
func (f *fields) check() error {
	if v := f.version; v.times > 1 || v.times == 1 && v.value != strconv.Itoa(Version) {
		return fmt.Errorf("%w: %.20q, this server speaks %d", ErrVersion, v.value, Version)
	}
	for _, key := range [...]string{"p", "g", "pull", "wait", "after"} {
		if f.field(key).times > 1 {
			return fmt.Errorf("%w: %s= stands in it twice", ErrBadAddress, key)
		}
	}
	return nil
}

func parseChannels(values []string) ([]Channel, error) {
	channels := make([]Channel, 0, len(values))
	var seen map[string]bool // a single one cannot stand there twice
	if len(values) > 1 {
		seen = make(map[string]bool, len(values))
	}
	for _, v := range values {
		c, err := ParseChannel(v)
		if err != nil {
			return nil, err
		}
		if seen[c.Name] {
			return nil, fmt.Errorf("%w: the channel %s stands in it twice", ErrBadAddress, c.Name)
		}
		if seen != nil {
			seen[c.Name] = true
		}
		channels = append(channels, c)
	}
	return channels, nil
}
