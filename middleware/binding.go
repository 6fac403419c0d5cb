package middleware

import "sync"

// A binding is one session key and the record of the app's store that holds it.
// The record's id changes when the app regenerates it; the key, and with it the
// client processes, stays. It lives while a process or a request holds it.
type binding struct {
	key    string
	id     string // "" until the key is in a record
	holds  int    // processes and requests
	busy   int    // of them, requests
	misses int    // how often in turn the record was missing under a request
}

// maxMisses is how often, in turn, a heartbeat may miss a record while a request
// of the session is under way. A record that is just being regenerated or saved
// is not as it should be until the request's leave; but a request that hangs, or
// requests without a gap, must not hide a logout for longer.
const maxMisses = 2

// bindings are those of this Comet's processes, found by either name. They are
// what makes requests of sessions without processes cost nothing, and what the
// heartbeat, which has no request, goes by. All fields of a binding but key are
// under the lock.
type bindings struct {
	mu    sync.Mutex
	byKey map[string]*binding
	byID  map[string]*binding
}

// enter returns the binding of a record, held for a request; nil if there is
// none.
func (t *bindings) enter(id string) *binding {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.byID[id]
	if b != nil {
		b.holds++
		b.busy++
	}
	return b
}

// obtain returns, held for a request, the binding of key; without a key that of
// the record id; and where there is none, a new one with a fresh key. Both
// strings are kept.
func (t *bindings) obtain(key, id string) *binding {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.byKey[key]
	if key == "" {
		b = t.byID[id]
	}
	if b == nil {
		b = &binding{key: key}
		if key == "" {
			b.key = randomText()
		}
		t.put(b)
	}
	t.name(b, id)
	b.holds++
	b.busy++
	return b
}

// keep returns the binding of key, held, in the record id if none is known.
func (t *bindings) keep(key, id string) *binding {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.byKey[key]
	if b == nil {
		b = &binding{key: key}
		t.put(b)
		t.name(b, id)
	}
	b.holds++
	return b
}

func (t *bindings) put(b *binding) {
	if t.byKey == nil {
		t.byKey, t.byID = make(map[string]*binding), make(map[string]*binding)
	}
	t.byKey[b.key] = b
}

// name makes id the record of b.
func (t *bindings) name(b *binding, id string) {
	if id == "" || id == b.id {
		return
	}
	if t.byID[b.id] == b {
		delete(t.byID, b.id)
	}
	b.id = id
	t.byID[id] = b
}

// move is name for a binding that is held, and whose key is in the record.
func (t *bindings) move(b *binding, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.name(b, id)
	b.misses = 0
}

// seen is told of every record in which a key was found: an id that was
// regenerated where no Comet stood around is learned from the next request.
func (t *bindings) seen(key, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.byKey[key]; b != nil {
		t.name(b, id)
		b.misses = 0
	}
}

// hold keeps b for a client process.
func (t *bindings) hold(b *binding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.holds++
}

// leave gives up a request's hold, release a process's.
func (t *bindings) leave(b *binding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.busy--
	t.drop(b)
}

func (t *bindings) release(b *binding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(b)
}

func (t *bindings) drop(b *binding) {
	if b.holds--; b.holds > 0 {
		return
	}
	delete(t.byKey, b.key)
	if t.byID[b.id] == b {
		delete(t.byID, b.id)
	}
}

// recordOf returns the record that has to hold key, "" if there is none yet.
func (t *bindings) recordOf(key string) (id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.byKey[key]; b != nil {
		id = b.id
	}
	return id
}

// found is told that the record id holds key.
func (t *bindings) found(key, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.byKey[key]; b != nil && b.id == id {
		b.misses = 0
	}
}

// lost is told that the record id does not hold key, and reports whether that is
// to be believed: not when the key moved meanwhile, nor the first maxMisses
// times that a request may be the cause.
func (t *bindings) lost(key, id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.byKey[key]
	if b == nil || b.id != id {
		return false
	}
	if b.busy == 0 {
		return true
	}
	b.misses++
	return b.misses > maxMisses
}

// keyOf returns the key that the record id was last known to hold.
func (t *bindings) keyOf(id string) (key string, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.byID[id]
	if b == nil {
		return "", false
	}
	return b.key, true
}

// idle reports whether processes here belong to the record id, and no request of
// it is under way.
func (t *bindings) idle(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.byID[id]
	return b != nil && b.busy == 0
}
