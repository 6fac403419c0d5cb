package wheel_test

import (
	"fmt"
	"time"

	"github.com/ocsigo/comet/internal/wheel"
)

// A heartbeat starts itself again.
func Example() {
	w := wheel.New(time.Millisecond)
	defer w.Close()
	beats := make(chan string)
	n := 0
	var heartbeat *wheel.Timer
	heartbeat = w.NewTimer(func() {
		if n++; n == 3 {
			close(beats)
			return
		}
		heartbeat.Reset(10 * time.Millisecond)
		beats <- "hb"
	})
	heartbeat.Reset(10 * time.Millisecond)
	for beat := range beats {
		fmt.Println(beat)
	}
	// Output:
	// hb
	// hb
}
