//go:build unix

package embedded_test

import (
	"testing"

	"github.com/ocsigo/comet/engine/nats/embedded/natstest"
	"github.com/ocsigo/comet/internal/leak"
)

func TestMain(m *testing.M) {
	natstest.Main()
	leak.Main(m, "fasthttp.updateServerDate")
}
