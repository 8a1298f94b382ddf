package ledger

import (
	"context"
	"encoding/json"
	"fmt"
)

// Resource is something on the host that has to be given back. Its JSON form,
// found in a ledger by another process, must be enough to do so.
type Resource interface {
	// Kind is a stable name, the key in [Kinds].
	Kind() string
	// String describes the resource for people.
	String() string
	// Release gives the resource back. It returns nil when there is nothing
	// (left) to give back, so it can be repeated.
	Release(ctx context.Context) error
}

// User is a resource that uses the others, as a process does, those that were made after
// it as well. As long as it is there, nothing else is given back: an address or a user id
// that goes to somebody else would then have two who use it.
type User interface {
	Resource
	Uses()
}

// Kinds decodes the recorded resources: a new, empty value per kind.
type Kinds map[string]func() Resource

func (k Kinds) decode(kind string, data json.RawMessage) (Resource, error) {
	newResource, ok := k[kind]
	if !ok {
		return unknown{kind}, nil
	}
	r := newResource()
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return r, nil
}

// unknown stands for a resource that a newer smartvm recorded. It can't be
// released here, and so it is never forgotten either.
type unknown struct{ kind string }

// Kind returns the name that was recorded.
func (u unknown) Kind() string   { return u.kind }
func (u unknown) String() string { return "unknown resource " + u.kind }

// Release refuses.
func (u unknown) Release(context.Context) error {
	return fmt.Errorf("this smartvm does not know the resource kind %q; use the version that made it", u.kind)
}
