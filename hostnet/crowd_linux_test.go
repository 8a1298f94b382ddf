package hostnet_test

import (
	"fmt"
	"testing"

	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
)

// Whoever goes and whoever comes may meet at any moment of the removal.
func TestNetworkIsMadeAnewWhileItGoes(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	program := faulttest.Build(t, "testdata/controller")
	nettest.Isolated(t, func(t *testing.T) {
		const processes, rounds = 3, 6
		s := newGround(t)
		for round := range rounds {
			var users []*user
			for i := range processes {
				u := s.user(t, program, fmt.Sprintf("p%d-%d", round, i), 1)
				users = append(users, u)
				try(t, u.stdin.Close()) // it goes as soon as it has come
			}
			for _, u := range users {
				if lines := u.joined(); len(lines) != 1 {
					t.Errorf("joined: %v", lines)
				}
				if err := u.cmd.Wait(); err != nil {
					t.Error(err)
				}
			}
		}
		s.clean(t)
	})
}
