package hostnet

import (
	"errors"
	"os"
	"testing"

	"github.com/smartvm/smartvm/errcode"
)

func TestOwnerIsMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	p := placeOf(t.TempDir(), "svbr0")
	if o, err := p.peekOwner(); err != nil || o.ID != unknownOwner {
		t.Errorf("peeked %+v, %v", o, err)
	}
	if err := p.make(); err != nil {
		t.Fatal(err)
	}
	first, err := p.owner()
	second, err2 := p.owner()
	if errors.Join(err, err2) != nil || first != second || first.ID == unknownOwner || len(first.ID) != 12 || first.Dir != p.runtime {
		t.Errorf("got %+v and %+v, %v", first, second, errors.Join(err, err2))
	}
	for _, text := range []string{"", "xyz", "0123456789", "0123456789abcd", "0123456789ag"} {
		if err := os.WriteFile(p.ownerPath(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if o, err := p.owner(); !errors.Is(err, errcode.LedgerFailed) {
			t.Errorf("%q: got %+v, %v", text, o, err)
		}
	}
}
