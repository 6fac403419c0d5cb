package scope_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/ocsigo/comet/scope"
)

// TestTokensAreFoundByDigest: client processes are kept by digests of their
// tokens, so that how long a lookup takes tells nothing of a token that is nearly
// right. The time itself cannot be measured reliably; by what they are kept can.
func TestTokensAreFoundByDigest(t *testing.T) {
	kept, ok := reflect.TypeFor[scope.Site]().FieldByName("processes")
	if !ok || kept.Type.Kind() != reflect.Map || kept.Type.Key() == reflect.TypeFor[string]() || kept.Type.Key().Name() != "tokenDigest" {
		t.Errorf("client processes are kept in %v", kept.Type)
	}
	k := newKit(t)
	p := k.process("s")
	token := p.Token()
	for _, wrong := range []string{"", token[:len(token)-1], token + "A", token[1:], "A" + token[1:]} {
		if got, err := k.site.Process("s", wrong); !errors.Is(err, scope.ErrNoProcess) && wrong != token {
			t.Errorf("%q found %v", wrong, got)
		}
	}
	if got, err := k.site.Process("s", token); got != p || err != nil {
		t.Errorf("its own token found %v, %v", got, err)
	}
	if _, err := k.site.Process("other", token); !errors.Is(err, scope.ErrNoProcess) {
		t.Errorf("under another session: %v", err)
	}
}
