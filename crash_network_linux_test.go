package smartvm_test

import (
	"strings"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/netlinux"
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

// A TAP of the caller's that a jailed VM has is lent to the jail's user, whoever ends the
// controller.
func TestControllerCanBeKilledWhileACallersTAPIsLent(t *testing.T) {
	hosttest.Boot(t)
	nettest.Isolated(t, func(t *testing.T) {
		const name = "lent0"
		tap(t, name)
		s := newCrashScene(t)
		s.more = []string{name}
		lent, killed := false, map[string]int{}
		for n := 1; ; n++ {
			point, dead := s.run(t, "-1s", n)
			if !dead {
				break
			}
			killed[point]++
			lent = lent || ownerOf(t, name) >= smartvm.DefaultFirstUID
			s.recover(t, strings.HasPrefix(point, "stop: "))
			if owner := ownerOf(t, name); owner > 0 {
				t.Fatalf("killed at point %d (%s): the TAP belongs to user %d", n, point, owner)
			}
			if left := s.left(t); len(left) > 0 {
				t.Fatalf("killed at point %d (%s): left %s", n, point, strings.Join(left, "\n"))
			}
		}
		if !unjailed("") && (!lent || killed["make lent-tap: made"] == 0 || killed["release lent-tap: gone"] == 0) {
			t.Errorf("was never killed while it was lent (%t); points: %v", lent, killed)
		}
	})
}

// ownerOf is the user who may open a TAP, -1 for nobody but root.
func ownerOf(t *testing.T, name string) int {
	t.Helper()
	host, err := netlinux.Open()
	must(t, err)
	defer host.Close()
	link, err := host.Link(name)
	must(t, err)
	return link.Owner
}
