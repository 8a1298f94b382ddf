package vmconfig

import (
	"crypto/rand"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// maxID is the longest id that Firecracker and its jailer accept.
const maxID = 64

// ID names a VM. A value made by [ParseID] or [NewID] is what Firecracker's
// --id accepts, so it is also a safe name of a directory: it has no separator
// and no dot. Ids of devices have another alphabet: there '_' is allowed and
// '-' is not.
type ID string

// ParseID checks that text can name a VM: 1 to 64 ASCII letters, digits and
// '-'. The error is INVALID_CONFIG and says what is wrong.
func ParseID(text string) (ID, error) {
	var f faults
	switch i := strings.IndexFunc(text, notInID); {
	case text == "":
		f.Add("id", "is empty")
	case len(text) > maxID:
		f.Add("id", "has %d bytes, at most %d are allowed", len(text), maxID)
	case i >= 0:
		f.Add("id", "%s has a character other than letters, digits and '-' at position %d", strict.Quote(text), i+1)
	}
	if err := f.err("parse vm id"); err != nil {
		return "", err
	}
	return ID(text), nil
}

func notInID(r rune) bool { return r != '-' && !isAlphanumeric(r) }

// isAlphanumeric is about ASCII. Firecracker lets other letters pass in ids of
// devices, but they would travel raw in the request line of its API.
func isAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
}

// NewID returns a random id such as vm-k3v7q2ab. It has 40 random bits: whoever
// registers ids still has to look whether it is free.
func NewID() ID { return ID("vm-" + strings.ToLower(rand.Text()[:8])) }

// faults gathers the mistakes of a config.
type faults struct{ strict.Faults }

func (f *faults) err(op string) error { return f.Err(errcode.InvalidConfig, op) }
