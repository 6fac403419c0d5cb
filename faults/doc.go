// Package faults breaks what Comet stands on, and looks at what readers hear.
//
// Several nodes of an app share an engine whose servers are real processes. Senders post to the nodes, and tabs hear them,
// some of which are cut all the time and come back to another node. Meanwhile servers are killed, stopped, cut off, emptied or
// promoted. In the end every value that was acknowledged must have reached every reader once and in order, or the reader must
// have been told that something is missing, and why.
//
// internal/storm is the load and its judge, internal/ledger what the judge goes by, internal/tab one reader, internal/app
// one node. Every run logs its seed; COMET_SEED repeats it.
package faults
