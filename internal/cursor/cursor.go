package cursor

import (
	"fmt"
	"strings"

	"github.com/ocsigo/comet/engine"
)

// A Cursor says how far one event stream has come. The zero Cursor moves
// nothing.
type Cursor struct {
	Over      bool // the event stream ended for good
	Sites     []Site
	Processes []Process
}

// A Site is the place of one site channel: the address's channel Index, or the
// registered channel Name.
type Site struct {
	Index    int             // into the address's channels, when Name is ""
	Name     string          // of a channel registered by command
	Position engine.Position // Epoch "": that of the address's position
	Removed  bool            // no longer heard; only of the address's channels
}

// A Process is the place of one process: which connection of it
// (Generation) has heard its events up to Number.
type Process struct {
	Slot       int    // 0: the address's own
	Token      string // of a process attached by command
	Generation uint64
	Number     uint64
	Removed    bool // no longer heard; only the address's own
}

// An Appender writes one cursor item by item, as append does: every method returns
// the Appender to go on with. It is a value, so that its buffer may stand on the
// caller's stack. The items of one epoch should follow each other, for each change
// of epoch costs its text.
type Appender struct {
	Buf   []byte // the cursor so far
	epoch string
	begun bool // there is an item after the tag
}

// Append begins a cursor of the address with this tag, at the start of buf.
func Append(buf []byte, tag Tag) Appender {
	return Appender{Buf: append(append(buf[:0], '_'), tag[:]...)}
}

// Empty reports whether the cursor says nothing yet.
func (a Appender) Empty() bool { return !a.begun }

func (a Appender) separated() Appender {
	a.begun = true
	a.Buf = append(a.Buf, '~')
	return a
}

// Over writes the cursor of an event stream that is over, in place of any other.
func (a Appender) Over() Appender {
	return Appender{Buf: append(a.Buf[:0], '!'), begun: true}
}

// Removed writes that the address's channel index is no longer heard.
func (a Appender) Removed(index int) Appender {
	a = a.separated()
	a.Buf = appendNumber(append(a.Buf, '!'), uint64(index))
	return a
}

// Index writes the place of the address's channel index. sameEpoch tells that
// p's epoch is that of the address's own position; such items come first.
func (a Appender) Index(index int, p engine.Position, sameEpoch bool) Appender {
	if !sameEpoch || a.epoch != "" {
		a = a.inEpoch(p.Epoch)
	}
	a = a.separated()
	a.Buf = append(appendNumber(a.Buf, uint64(index)), '.')
	a.Buf = appendSequence(a.Buf, p)
	return a
}

// Name writes the place of a channel registered by command.
func (a Appender) Name(name string, p engine.Position) Appender {
	a = a.inEpoch(p.Epoch).separated()
	a.Buf = append(append(a.Buf, name...), '@')
	a.Buf = appendSequence(a.Buf, p)
	return a
}

func (a Appender) inEpoch(epoch string) Appender {
	if a.epoch == epoch {
		return a
	}
	a = a.separated()
	a.epoch = epoch
	a.Buf = append(append(a.Buf, '*'), epoch...)
	return a
}

// Process writes the place of a process.
func (a Appender) Process(p Process) Appender {
	a = a.separated()
	a.Buf = append(a.Buf, '-')
	if p.Removed {
		return a
	}
	if p.Slot > 0 {
		a.Buf = append(appendNumber(a.Buf, uint64(p.Slot)), '.')
	}
	a.Buf = append(appendNumber(a.Buf, p.Generation), '.')
	a.Buf = appendNumber(a.Buf, p.Number)
	if p.Slot > 0 {
		a.Buf = append(append(a.Buf, '.'), p.Token...)
	}
	return a
}

// ParseCursor reads a cursor of an event stream with this address. One of another
// address, or with an item that such a stream could not have carried, is refused.
func ParseCursor(text string, address Address) (Cursor, error) {
	var c Cursor
	if len(text) > MaxLength {
		return c, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrBadCursor, len(text), MaxLength)
	}
	if text == "" {
		return c, nil
	}
	if text == "!" {
		return Cursor{Over: true}, nil
	}
	tag, items, said := strings.Cut(text, "~")
	if own := address.Tag(); tag != "_"+string(own[:]) {
		return c, fmt.Errorf("%w: it is of another address", ErrBadCursor)
	}
	if !said { // nothing has moved yet
		return c, nil
	}
	p := parser{channels: len(address.Channels), own: address.Process.Token != "", seen: make(map[string]bool)}
	for item := range strings.SplitSeq(items, "~") {
		if err := p.item(item); err != nil {
			return Cursor{}, fmt.Errorf("%w: item %.40q: %w", ErrBadCursor, item, err)
		}
	}
	if p.due {
		return Cursor{}, fmt.Errorf("%w: it ends with the epoch of nothing", ErrBadCursor)
	}
	return p.cursor, nil
}

type parser struct {
	channels int
	own      bool
	epoch    string
	due      bool            // the epoch's item has to follow
	seen     map[string]bool // what an item may say only once
	cursor   Cursor
}

func (p *parser) item(item string) error {
	due := p.due
	p.due = false
	switch {
	case item == "":
		return fmt.Errorf("it is empty")
	case due && strings.ContainsRune("*!-", rune(item[0])):
		return fmt.Errorf("it follows an epoch and has none")
	case item[0] == '*':
		return p.epochItem(item[1:])
	case item[0] == '!':
		return p.removedItem(item[1:])
	case item[0] == '-':
		return p.processItem(item[1:])
	case strings.Contains(item, "@"):
		return p.nameItem(item)
	default:
		return p.indexItem(item)
	}
}

func (p *parser) first(what string) error {
	if p.seen[what] {
		return fmt.Errorf("it stands there twice")
	}
	p.seen[what] = true
	return nil
}

func (p *parser) epochItem(epoch string) error {
	if !validEpoch(epoch) || epoch == p.epoch {
		return fmt.Errorf("it is no new epoch")
	}
	p.epoch, p.due = epoch, true
	return nil
}

func (p *parser) index(s string) (int, error) {
	n, err := parseNumber(s)
	if err != nil {
		return 0, err
	}
	if n >= uint64(p.channels) {
		return 0, fmt.Errorf("the address has %d channels", p.channels)
	}
	return int(n), p.first("#" + s)
}

func (p *parser) removedItem(s string) error {
	i, err := p.index(s)
	p.cursor.Sites = append(p.cursor.Sites, Site{Index: i, Removed: true})
	return err
}

func (p *parser) indexItem(item string) error {
	index, sequence, _ := strings.Cut(item, ".")
	i, err := p.index(index)
	if err != nil {
		return err
	}
	s := Site{Index: i, Position: engine.Position{Epoch: p.epoch}}
	if err := parseSequence(sequence, &s.Position); err != nil {
		return err
	}
	p.cursor.Sites = append(p.cursor.Sites, s)
	return nil
}

func (p *parser) nameItem(item string) error {
	name, sequence, _ := strings.Cut(item, "@")
	if !ValidName(name) || p.epoch == "" {
		return fmt.Errorf("it names no channel with an epoch")
	}
	s := Site{Name: name, Position: engine.Position{Epoch: p.epoch}}
	if err := parseSequence(sequence, &s.Position); err != nil {
		return err
	}
	p.cursor.Sites = append(p.cursor.Sites, s)
	return p.first("@" + name)
}

func (p *parser) processItem(s string) error {
	parts := strings.Split(s, ".")
	var process Process
	var err error
	switch {
	case s == "":
		process.Removed = true
	case len(parts) == 4 && ValidToken(parts[3]):
		var slot uint64
		if slot, err = parseNumber(parts[0]); err != nil || slot < 1 || slot > 1<<16 {
			return fmt.Errorf("it has no slot")
		}
		process.Slot, process.Token, parts = int(slot), parts[3], parts[1:3]
	case len(parts) != 2:
		return fmt.Errorf("it is no process")
	}
	if !process.Removed {
		if process.Generation, err = parseNumber(parts[0]); err != nil {
			return err
		}
		if process.Number, err = parseNumber(parts[1]); err != nil {
			return err
		}
	}
	if process.Slot == 0 && !p.own {
		return fmt.Errorf("the address has no process of its own")
	}
	p.cursor.Processes = append(p.cursor.Processes, process)
	if err := p.first(fmt.Sprintf("-%d", process.Slot)); err != nil || process.Slot == 0 {
		return err
	}
	return p.first("-" + process.Token)
}
