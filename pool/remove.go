package pool

import (
	"context"
	"errors"

	"github.com/smartvm/smartvm/errcode"
)

// Remove removes the pool of a user and gives back all that was made for it; what was
// there before is as it was. It returns what was given back, nothing if there is no
// pool, and can be repeated, also after it was killed. It needs root.
//
// NETWORK_IN_USE means that processes have TAPs of the pool open; with force they lose
// them.
func Remove(ctx context.Context, opts Options, u User, force bool) (removed []string, err error) {
	removed, err = remove(ctx, opts.withDefaults(), u, force)
	return removed, failed(errcode.CleanupFailed, "remove pool", u.Name, err)
}

func remove(ctx context.Context, opts Options, u User, force bool) (removed []string, err error) {
	if there, err := opts.exists(); err != nil || !there {
		return nil, err
	}
	s, err := enter(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	w, err := s.find(ctx, u)
	if err != nil {
		return nil, err
	}
	if w != nil {
		for _, r := range w.ledger.View().Resources {
			removed = append(removed, r.String())
		}
		if err := w.demolish(ctx, force); err != nil {
			return nil, err
		}
	}
	// Also what is in no ledger: a network that was made for a pool whose first TAP was not.
	return removed, errors.Join(s.sweep(ctx), s.prune(ctx))
}
