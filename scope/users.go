package scope

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// users finds the client processes of this node by their user, who may be one for
// all that are nobody else. Its lock may be taken under any other.
type users struct {
	mu     sync.Mutex
	all    map[string]map[*ClientProcess]uint64 // in the order in which they came
	of     map[*ClientProcess]string
	newest uint64
}

// set has p be the user's; "" is nobody. A process that was removed stays so.
func (t *users) set(p *ClientProcess, user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.state.ended() { // it was, or will be, removed
		return
	}
	t.take(p)
	if user == "" {
		return
	}
	if t.all == nil {
		t.all, t.of = map[string]map[*ClientProcess]uint64{}, map[*ClientProcess]string{}
	}
	if t.all[user] == nil {
		t.all[user] = make(map[*ClientProcess]uint64, 1)
	}
	t.newest++
	t.all[user][p], t.of[p] = t.newest, user
}

func (t *users) remove(p *ClientProcess) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.take(p)
}

// take needs t.mu.
func (t *users) take(p *ClientProcess) {
	user, known := t.of[p]
	if !known {
		return
	}
	delete(t.of, p)
	delete(t.all[user], p)
	if len(t.all[user]) == 0 {
		delete(t.all, user)
	}
}

// processes returns the user's, those first that came first.
func (t *users) processes(user string) []*ClientProcess {
	t.mu.Lock()
	came := maps.Clone(t.all[user])
	t.mu.Unlock()
	return slices.SortedFunc(maps.Keys(came), func(p, q *ClientProcess) int { return cmp.Compare(came[p], came[q]) })
}

// BelongsTo tells whose page the process's is, for as long as no event stream has
// come: each of these tells it anew, by its Reader.User. "" is nobody. Nothing
// changes the user of a process that is one user's alone (Spec.Personal).
func (p *ClientProcess) BelongsTo(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.connected && p.admits(user) {
		p.belongTo(user)
	}
}

// User returns whom the process belongs to: who came with its last event stream, by
// Config.User, or before the first made its page. "" is nobody.
func (p *ClientProcess) User() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.user
}

// admits reports that the process is not another user's alone. It needs p.mu.
func (p *ClientProcess) admits(user string) bool { return !p.own || p.user == "" || p.user == user }

// belongTo makes who was admitted the process's user. It needs p.mu.
func (p *ClientProcess) belongTo(user string) {
	if p.user == user {
		return
	}
	p.user = user
	if !p.adopted {
		p.site.users.set(p, user)
	}
}
