package smartvm_test

import (
	"strings"
	"testing"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
)

// TestControllerCanBeKilledAtEveryPointOfANetwork does with a VM that has networks what
// TestControllerCanBeKilledAtEveryPoint does with one that has none.
func TestControllerCanBeKilledAtEveryPointOfANetwork(t *testing.T) {
	hosttest.Boot(t)
	nettest.Isolated(t, func(t *testing.T) {
		s := newCrashScene(t)
		s.more = []string{"network"}
		host := nettest.Host(t)
		host.Uplink(t, "up0", "192.0.2.2/24")
		before := host.Snapshot(t)
		adopted, killed := 0, map[string]int{}
		for n := 1; ; n++ {
			point, dead := s.run(t, "-1s", n)
			if !dead {
				break
			}
			killed[point]++
			if s.recover(t, strings.HasPrefix(point, "stop: ")) {
				adopted++
			}
			if left := append(s.left(t), before.Diff(host.Snapshot(t))...); len(left) > 0 {
				t.Fatalf("killed at point %d (%s): left %s", n, point, strings.Join(left, "\n"))
			}
		}
		for _, point := range []string{
			"make link: made", "make tables: recorded", "make nic: recorded", "attach: leased", "attach: TAP made", "attach: rules made",
			"release nic: TAP gone", "release nic: rules gone", "network: going", "release link: gone",
		} {
			if killed[point] == 0 {
				t.Errorf("was never killed at %q; points: %v", point, killed)
			}
		}
		if adopted == 0 {
			t.Error("no VM was ever adopted")
		}
		t.Logf("killed at %d different points, %d times adopted", len(killed), adopted)
	})
}
