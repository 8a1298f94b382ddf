package pool_test

import (
	"strconv"
	"testing"

	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/pool"
)

// run lets the administrator go as far as his nth point, and reports whether he was
// killed there and which point that was.
func (s *scene) run(t *testing.T, program string, n int) (point string, killed bool) {
	t.Helper()
	return faulttest.Run(t, n, proc.Command{
		Path: program, Args: append([]string{"life", s.Dir, s.SharedMemory, strconv.Itoa(alice.UID)}, s.Devices...),
	})
}

const crashShards = 4

func TestKilledSetUpIsPutRightByTheNextSetUpOrRemove(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	program := faulttest.Build(t, "testdata/administrator")
	for first := range crashShards {
		t.Run(strconv.Itoa(first+1), func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				s := newScene(t)
				killed := map[string]int{}
				for n, round := first+1, 0; !t.Failed(); n, round = n+crashShards, round+1 {
					point, dead := s.run(t, program, n)
					if !dead {
						break
					}
					killed[point]++
					if round%2 == 0 { // as somebody does who tries again
						p := s.setUp(t, pool.Request{User: alice})
						if status, err := p.Status(); err != nil || status != (pool.Status{}) || len(p.TAPs) == 0 {
							t.Errorf("after another setup: %+v, %v", status, err)
						}
					}
					s.remove(t, alice)
					if s.clean(t); t.Failed() {
						t.Fatalf("killed at point %d: %s", n, point)
					}
				}
				s.clean(t)
				t.Logf("killed at %v", killed)
				if len(killed) < 20 { // else the loop has tested nothing
					t.Errorf("killed at %d different points", len(killed))
				}
			})
		})
	}
}
