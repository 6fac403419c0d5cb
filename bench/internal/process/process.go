// Package process is what a server says of its own use of the machine.
package process

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// CPU is the process's user and system time so far.
func CPU() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// Memory is what the process holds once all garbage is given back.
type Memory struct {
	RSS, Heap  int64 // bytes
	Goroutines int
}

// Settled collects twice, because a sync.Pool lets go at the second collection,
// gives free memory back to the system, and measures.
func Settled() (Memory, error) {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	rss, err := rss()
	return Memory{RSS: rss, Heap: int64(m.HeapAlloc), Goroutines: runtime.NumGoroutine()}, err
}

// rss sums the mappings: the VmRSS of /proc/self/status is an estimate, off by up
// to 32 pages a core.
func rss() (int64, error) {
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte("Rss:"))
		if !ok {
			continue
		}
		rest, _ = bytes.CutSuffix(bytes.TrimSpace(rest), []byte(" kB"))
		kb, err := strconv.ParseInt(string(rest), 10, 64)
		return kb << 10, err
	}
	return 0, fmt.Errorf("/proc/self/smaps_rollup has no line Rss")
}
