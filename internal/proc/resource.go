package proc

import (
	"context"
	"errors"
	"io/fs"
)

// Resource is a process in a ledger. Until it has been started only its future
// standard input is known.
type Resource struct {
	Role  string `json:"role"` // what it is, for people
	Stdin File   `json:"stdin"`
	ID    ID     `json:"id,omitzero"`
}

// Kind implements ledger.Resource.
func (r *Resource) Kind() string { return "process" }

// String implements ledger.Resource.
func (r *Resource) String() string {
	if r.ID.IsZero() {
		return r.Role + " process"
	}
	return r.Role + " " + r.ID.String()
}

// Uses implements ledger.User.
func (r *Resource) Uses() {}

// Release kills the process and waits until it has ended.
func (r *Resource) Release(ctx context.Context) error {
	ids := []ID{r.ID}
	if r.ID.IsZero() {
		found, err := FindByStdin(r.Stdin)
		if err != nil {
			return err
		}
		ids = found
	}
	var errs []error
	for _, id := range ids {
		errs = append(errs, kill(ctx, id))
	}
	return errors.Join(errs...)
}

func kill(ctx context.Context, id ID) error {
	p, err := Open(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Forget()
	return p.Kill(ctx)
}
