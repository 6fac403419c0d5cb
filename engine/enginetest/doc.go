// Package enginetest proves that an engine keeps the contract of package engine.
//
// A driver calls [Run] from one test, with a function that opens fresh handles:
//
//	func TestConformance(t *testing.T) {
//		enginetest.Run(t, func(t *testing.T) enginetest.Cluster {
//			return enginetest.Cluster{Handles: []engine.Engine{open(t, node1), open(t, node2)}}
//		})
//	}
//
// Each case is a subtest, so that go test -run 'TestConformance/delete' runs one
// alone; when it fails it also prints why the case exists. An engine that lives in
// the process only should use [RunInBubble]: there time is fake, what waits for
// minutes is tested too, and a goroutine left behind is a failure.
//
// A case takes names of its own with random prefixes, so the store need not be
// empty. The seed of random cases is printed; COMET_SEED repeats one.
//
// [Chaos] makes the feed of any engine as bad as the contract allows, to test what
// stands on an engine.
package enginetest
