// Package sitetest proves that an engine holds what stands on it: Sites of several
// nodes, whose tabs are cut anywhere and come back to any of them, and programs that
// follow.
//
// The kit engine/enginetest asks an engine what its contract says. This one asks what
// readers get of it, through the follower and the publisher of package scope, while
// every feed loses, doubles, delays and reorders what it offers. A driver calls [Run]
// beside enginetest.Run:
//
//	func TestSites(t *testing.T) {
//		sitetest.Run(t, func(t *testing.T) []engine.Engine {
//			return []engine.Engine{open(t, node1), open(t, node2)}
//		})
//	}
//
// It takes names of its own with random prefixes, and deletes its logs. The seed is
// printed; COMET_SEED repeats it.
package sitetest
