package enginetest

import (
	"strings"

	"github.com/ocsigo/comet/engine"
)

// model is the contract of one log as a plain list that forgets nothing.
type model struct {
	spec      engine.Spec
	positions []engine.Position // positions[0] is the genesis, positions[i] of texts[i-1]
	texts     []string
	dead      []engine.Position // of earlier lives
}

// kept returns how many of the newest texts may be read.
func (m *model) kept() int {
	n, bytes := 0, 0
	for n < min(len(m.texts), m.spec.Size) {
		bytes += len(m.texts[len(m.texts)-1-n])
		if bytes > m.spec.MaxBytes {
			break
		}
		n++
	}
	return n
}

func caseModel(k *kit) {
	names := make([]engine.Name, 4)
	models := make([]*model, len(names))
	for i := range names {
		spec := engine.Spec{Size: 1 + k.random.IntN(12), MaxBytes: 20 + k.random.IntN(100)}
		n, genesis := k.log(spec)
		names[i], models[i] = n, &model{spec: spec, positions: []engine.Position{genesis}}
	}
	for range 1500 {
		i := k.random.IntN(len(names))
		switch r := k.random.IntN(100); {
		case r < 45:
			k.modelAppend(names[i], models[i])
		case r < 80:
			k.modelRead(names[i], models[i])
		case r < 90:
			k.modelLast(names[i], models[i])
		case r < 97:
			k.tail(names[i], models[i].positions[len(models[i].texts)])
		default:
			k.modelDelete(names[i], models[i])
		}
	}
}

func (k *kit) modelAppend(n engine.Name, m *model) {
	k.Helper()
	var items []engine.Item
	for range 1 + k.random.IntN(3) {
		text := strings.Repeat(string(rune('a'+k.random.IntN(26))), max(0, k.random.IntN(24)-4))
		m.texts = append(m.texts, text)
		items = append(items, engine.Item{Data: []byte(text)})
	}
	positions, err := k.any().Append(k.ctx, n, items...)
	k.must(err)
	m.positions = append(m.positions, positions...)
	if len(m.positions) != len(m.texts)+1 {
		k.Fatalf("%d positions for %d items", len(positions), len(items))
	}
}

func (k *kit) modelRead(n engine.Name, m *model) {
	k.Helper()
	if len(m.dead) > 0 && k.random.IntN(4) == 0 {
		k.reborn(n, m.dead[k.random.IntN(len(m.dead))])
		return
	}
	back := k.random.IntN(min(len(m.positions), m.spec.Size+5)) // most reads are near the end
	from := len(m.texts) - back
	if back > m.kept() {
		k.trimmed(n, m.positions[from])
		return
	}
	k.expect(n, m.positions[from], m.texts[from:]...)
}

func (k *kit) modelLast(n engine.Name, m *model) {
	k.Helper()
	ask := k.random.IntN(m.spec.Size + 3)
	give := min(ask, m.kept())
	batch, err := k.any().Last(k.ctx, n, ask)
	k.must(err)
	from := len(m.texts) - give
	k.same(batch.Entries, m.texts[from:])
	k.chain(m.positions[from], batch.Entries)
}

func (k *kit) modelDelete(n engine.Name, m *model) {
	k.Helper()
	k.must(k.any().Delete(k.ctx, n))
	m.dead = append(m.dead, m.positions...)
	m.positions, m.texts = []engine.Position{k.ensure(n, m.spec)}, nil
}
