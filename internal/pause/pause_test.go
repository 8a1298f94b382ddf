package pause_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/smartvm/smartvm/internal/pause"
)

func TestPauseEndsByItselfOrWithTheContext(t *testing.T) {
	t.Parallel()
	if err := pause.For(t.Context(), time.Nanosecond); err != nil {
		t.Errorf("got %v", err)
	}
	reason := errors.New("no longer wanted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	if err := pause.For(ctx, time.Hour); !errors.Is(err, reason) {
		t.Errorf("got %v", err)
	}
}
