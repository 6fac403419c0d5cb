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
// # What is asked
//
// Each case has one sentence, which is printed when it fails: what breaks for readers.
// By what they are about, with the numbers that the study had of them which the
// contract comes from:
//
//	 1  one order, a closed chain of Prev                   order
//	 2  one order for all nodes                             concurrent
//	 3  batches, and what an error leaves stored            batch
//	 4  the same ID again, by another node, after unknown   idempotent, repeated
//	 5  pages while the log is trimmed                      paging
//	 6  Size is exact                                       size, bytes
//	 7  the empty log                                       empty
//	 8  other channels                                      neighbours
//	 9  positions of something else; a wrong tag            foreign
//	10  delete, and make again                              delete
//	11  newest                                              newest
//	12  another instance's log, history                     external, prefix, last
//	13  Ensure at once, and with another spec               ensure
//	14  said the moment after Watch                         watch, race
//	15  a feed that loses, doubles and reorders             Chaos, and package sitetest
//	16  a watcher that is slow, or stops                    slowsink, stop
//	17  contexts that end before and during every call      context, cancel
//	18  what is too large, and every name                   limits, names
//	19  IdleTTL                                             idle
//	20  Close while watching                                close
//	21  a long random history against a plain list          model
//	22  the caller's buffers                                buffers
//	    many tails at once, a log that is not there         tails, nochannel
//
// Of 10, the wiped store is a driver's own to test: the kit cannot wipe one.
// The case race takes 10,000 rounds, and with -short 500; cancel counts goroutines, so
// other tests should not run beside it.
//
// [Chaos] makes the feed of any engine as bad as the contract allows, to test what
// stands on an engine.
package enginetest
