package redis

// For the tests, which compare with the server.
var Slot = slot

// Keys returns the hash tags of n shards.
func Keys(n int) []string { return newKeyspace("comet", n).tags }
