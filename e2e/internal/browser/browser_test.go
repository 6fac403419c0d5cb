package browser

import (
	"strings"
	"testing"
)

func TestStartUnknown(t *testing.T) {
	if _, err := Start(t.Context(), "mosaic"); err == nil || !strings.Contains(err.Error(), "firefox") {
		t.Errorf("an unknown browser is the error %v: want the known ones named", err)
	}
}
