package scope_test

import (
	"testing"

	"github.com/ocsigo/comet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
