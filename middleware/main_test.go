package middleware_test

import (
	"testing"

	"github.com/ocsigo/comet/internal/leak"
)

// TestMain fails the run when it leaves goroutines behind, but for those that
// Fiber and its storage leave running by design.
func TestMain(m *testing.M) {
	leak.Main(m,
		"StartTimeStampUpdater",                           // the memory storage's clock, one for the process
		"fiber/v2/internal/storage/memory.(*Storage).gc",  // session.New without a Storage: nobody can close it
		"github.com/valyala/fasthttp.updateServerDate",    // a clock, one for the process
		"github.com/valyala/fasthttp.(*workerPool).Start", // ends within ten seconds of Shutdown
	)
}
