// Package pause waits in a way that a context can end.
package pause

import (
	"context"
	"time"
)

// For returns nil after d, or the cause of ctx's end as soon as that comes.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
