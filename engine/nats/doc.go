// Package nats keeps logs in NATS JetStream, for apps that run as several
// processes: an engine.Engine and an engine.Cluster, and a store for Fiber's
// sessions.
//
//	conn, err := nats.Connect("nats://10.0.0.1,nats://10.0.0.2,nats://10.0.0.3")
//	log, err := nats.New(ctx, conn, nats.Config{Replicas: 3})
//	site := comet.NewSite(comet.SiteConfig{Engine: log})
//
// It needs nats-server 2.11 or newer (tested: 2.15.2) with JetStream enabled. The package
// engine/nats/embedded runs one inside the app.
//
// # What is stored where
//
// For a Namespace NS there are these streams:
//
//	COMET_NS_names          a record for every name that has a log
//	COMET_NS_CLASS_SHARD    the entries of the logs of a size class: 1, 16, 128, 1024, …
//	COMET_NS_state          the nodes' records, and what Storage keeps
//
// Every log has a subject of its own, NS.log.CLASS.SHARD.ROOT.EPOCH.PREFIX.CHANNEL.
// ROOT is random for each creation of a stream and EPOCH for each life of a log, so
// that nothing meant for one life is ever taken by another. PREFIX and CHANNEL are
// the name's, with any byte but A-Z, a-z, 0-9, - and _ written as = and two
// hexadecimal digits.
//
// The first message of a life is its genesis, which readers do not see. A stream
// keeps one message of a subject more than its class says, so that the anchor of who
// is a whole log behind is there. Size and MaxBytes are exact: reads refuse what
// the class keeps beyond them.
//
// A stream republishes what it stores; that is the feed. Its messages name their
// predecessor on the subject, so a hole is seen by the next message. What may have
// been lost without one is told by Dirty: a cut connection, a new leader of the
// stream, a queue that was full.
//
// # What is promised
//
// With Replicas 3 or 5, what Append acknowledged is on a majority of the servers,
// and stays when a minority of them is lost. Servers write files without syncing
// them for up to two minutes, unless they are told otherwise (sync_interval: always):
// when a majority loses power at once, what was acknowledged since may be lost. Then
// the log ends earlier than before, positions have other tags, and readers hear full,
// reason reset. With Replicas 1 the same is so for one server.
//
// Read and Storage.Get begin with what the stream's leader has. For up to seven seconds
// after a leader lost its majority it does not know that. So how a log ends, that it was
// trimmed, is gone or is another, is only said after a write which a majority
// acknowledged, and Tail, Tails and Last are answered by any replica that has it; who is on the old leader's side of the cut gets
// engine.ErrUnavailable instead, and Health fails there within 2 s. Only Storage.Get may
// be late there.
//
// An election takes 4 to 9 s, in which nothing is stored in the streams that the
// server led. An item with an ID is sent again until it is stored or its context
// ends.
//
// # Costs
//
// An Append is one message to the leader and its replicas, and a question to the
// leader of the names stream that all calls of a moment share. A Read fetches all
// that follows its position, whatever its max. A log is a subject, and costs
// each server about two kilobytes besides its entries. A stream has one leader:
// Shards spreads the logs of a class over several.
//
// An Engine has two connections and a few goroutines, and one for each service and each
// question about names that is under way; none for a watcher.
package nats
