package ring_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/ocsigo/comet/internal/ring"
)

func ExampleRing() {
	r := ring.New[string](2, 0)
	r.Push("a", 1)
	wanted := r.Next() // a reader that wants what comes next
	r.Push("b", 1)
	r.Push("c", 1)
	e, kept := r.At(wanted)
	fmt.Println(e, kept)
	r.Push("d", 1)
	_, kept = r.At(wanted)
	fmt.Println(kept, wanted < r.First())
	// Output:
	// b true
	// false true
}

func check(t *testing.T, r *ring.Ring[int], first uint64, want []int, bytes int) {
	t.Helper()
	if r.First() != first || r.Next() != first+uint64(len(want)) || r.Len() != len(want) || r.Bytes() != bytes {
		t.Fatalf("first %d next %d len %d bytes %d, want first %d, %d entries, %d bytes", r.First(), r.Next(), r.Len(), r.Bytes(), first, len(want), bytes)
	}
	for i, w := range want {
		if e, ok := r.At(first + uint64(i)); !ok || e != w {
			t.Fatalf("At(%d) = %d, %v, want %d", first+uint64(i), e, ok, w)
		}
	}
	if _, ok := r.At(r.Next()); ok {
		t.Fatal("At(Next) gave an entry")
	}
	if _, ok := r.At(r.First() - 1); ok {
		t.Fatal("At(First-1) gave an entry")
	}
}

func TestEmpty(t *testing.T) {
	check(t, ring.New[int](3, 10), 0, nil, 0)
}

// Rule 5: the bound in messages is exact, at every size around a power of two.
func TestSizeIsExact(t *testing.T) {
	for _, size := range []int{1, 2, 3, 4, 5, 7, 8, 9, 1000} {
		r := ring.New[int](size, 0)
		for i := range 3*size + 1 {
			evicted := r.Push(i, 1)
			if want := i >= size; (evicted == 1) != want {
				t.Fatalf("size %d: push %d evicted %d", size, i, evicted)
			}
			if r.Len() != min(i+1, size) {
				t.Fatalf("size %d: %d kept after %d pushes", size, r.Len(), i+1)
			}
			if e, ok := r.At(r.First()); !ok || e != int(r.First()) {
				t.Fatalf("size %d: oldest is %d, want %d", size, e, r.First())
			}
		}
	}
}

// Rule 5: the bound in bytes is exact too, whichever of the two is met first.
// TestSizeIsNoCost: a bound that is never reached costs nothing, however large.
func TestSizeIsNoCost(t *testing.T) {
	r := ring.New[int](math.MaxInt, 100)
	for i := range 5 {
		r.Push(i, 1)
	}
	if v, ok := r.At(4); !ok || v != 4 {
		t.Errorf("At(4) = %d, %v", v, ok)
	}
}

func TestBytesAreExact(t *testing.T) {
	r := ring.New[int](3, 10)
	for i, push := range []struct {
		bytes, evicted int
		first          uint64
		kept           []int
		total          int
	}{
		{4, 0, 0, []int{0}, 4},
		{6, 0, 0, []int{0, 1}, 10},
		{1, 1, 1, []int{1, 2}, 7},
		{0, 0, 1, []int{1, 2, 3}, 7},
		{0, 1, 2, []int{2, 3, 4}, 1},
		{10, 1, 3, []int{3, 4, 5}, 10},
		{10, 3, 6, []int{6}, 10},
		{11, 2, 8, nil, 0},
		{5, 0, 8, []int{8}, 5},
	} {
		if got := r.Push(i, push.bytes); got != push.evicted {
			t.Fatalf("push %d evicted %d, want %d", i, got, push.evicted)
		}
		check(t, r, push.first, push.kept, push.total)
	}
}

func TestSearch(t *testing.T) {
	r := ring.New[int](5, 0)
	if got := r.Search(func(int) bool { return true }); got != 0 {
		t.Fatalf("Search in an empty ring = %d", got)
	}
	for i := range 8 {
		r.Push(10*i, 1)
	}
	for _, c := range []struct {
		from int
		want uint64
	}{{-1, 3}, {30, 3}, {31, 4}, {69, 7}, {70, 7}, {71, 8}} {
		if got := r.Search(func(e int) bool { return e >= c.from }); got != c.want {
			t.Errorf("Search(>= %d) = %d, want %d", c.from, got, c.want)
		}
	}
}

func TestResetKeepsOrdinals(t *testing.T) {
	r := ring.New[int](4, 0)
	for i := range 6 {
		r.Push(i, 2)
	}
	r.Reset()
	check(t, r, 6, nil, 0)
	r.Push(60, 3)
	check(t, r, 6, []int{60}, 3)
}

func TestBadArgumentsPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"size":     func() { ring.New[int](0, 1) },
		"maxBytes": func() { ring.New[int](1, -1) },
		"bytes":    func() { ring.New[int](1, 1).Push(0, -1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			f()
		})
	}
}

// Evicted payloads go to the garbage collector although their slot is not
// overwritten yet.
func TestEvictedIsFreed(t *testing.T) {
	r := ring.New[*[1024]byte](4, 10)
	freed := make(chan int, 2)
	for i := range 2 {
		payload := new([1024]byte)
		runtime.AddCleanup(payload, func(i int) { freed <- i }, i)
		r.Push(payload, 5)
	}
	r.Push(new([1024]byte), 10)
	for range 2 {
		runtime.GC()
		<-freed
	}
	runtime.KeepAlive(r)
}

// A random run against the obvious slice.
func TestAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	type entry struct{ value, bytes int }
	for range 200 {
		size, maxBytes := 1+rng.IntN(20), rng.IntN(60)
		r := ring.New[int](size, maxBytes)
		var model []entry
		var first, sum = uint64(0), 0
		for i := range 200 {
			if rng.IntN(50) == 0 {
				r.Reset()
				first, model, sum = first+uint64(len(model)), nil, 0
			}
			e := entry{i, rng.IntN(20)}
			r.Push(e.value, e.bytes)
			model, sum = append(model, e), sum+e.bytes
			for len(model) > size || maxBytes > 0 && sum > maxBytes {
				sum -= model[0].bytes
				model, first = model[1:], first+1
			}
			want := make([]int, len(model))
			for j, m := range model {
				want[j] = m.value
			}
			check(t, r, first, want, sum)
		}
	}
}

// What a full ring costs to push to: no allocation.
func TestFullPushDoesNotAllocate(t *testing.T) {
	r := ring.New[int](1000, 0)
	for i := range 1000 {
		r.Push(i, 1)
	}
	if n := testing.AllocsPerRun(100, func() { r.Push(1, 1) }); n != 0 {
		t.Fatalf("%v allocations a push", n)
	}
}

func BenchmarkPush(b *testing.B) {
	r := ring.New[[]byte](1000, 1<<20)
	payload := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		r.Push(payload, len(payload))
	}
}

// What an idle channel with room for 1000 costs.
func BenchmarkIdle(b *testing.B) {
	b.ReportAllocs()
	var keep *ring.Ring[[]byte]
	for b.Loop() {
		keep = ring.New[[]byte](1000, 1<<20)
		keep.Push(nil, 0)
	}
	_ = keep
}

func TestDropOldestAndSkip(t *testing.T) {
	r := ring.New[int](3, 0)
	r.DropOldest()
	r.Push(10, 1)
	r.Push(11, 1)
	r.DropOldest()
	if _, ok := r.At(0); ok || r.First() != 1 || r.Bytes() != 1 {
		t.Fatalf("after DropOldest: first %d, %d bytes", r.First(), r.Bytes())
	}
	r.Skip()
	if r.First() != 3 || r.Next() != 3 || r.Len() != 0 {
		t.Fatalf("after Skip: first %d, next %d", r.First(), r.Next())
	}
	r.Push(12, 1)
	if e, ok := r.At(3); !ok || e != 12 {
		t.Fatalf("after Skip and Push: %d, %v", e, ok)
	}
}
