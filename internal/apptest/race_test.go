//go:build race

package apptest_test

// raced: the race detector bears about 8000 goroutines, and makes all slow.
const raced = true
