package nettest_test

import (
	"testing"

	"github.com/smartvm/smartvm/internal/nettest"
)

func TestFixturesCutOffWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	for name, fixture := range map[string]func(n *nettest.Namespace, tb testing.TB){
		"docker":    (*nettest.Namespace).DockerLike,
		"ufw":       (*nettest.Namespace).UfwLike,
		"firewalld": (*nettest.Namespace).FirewalldLike,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				host, world, guest := routed(t)
				world.Serve(t, "tcp", "203.0.113.9:80")
				host.Serve(t, "tcp", "0.0.0.0:9")
				guest.Reach(t, "tcp", "203.0.113.9:80")
				before := host.Snapshot(t)
				fixture(host, t)
				if len(before.Diff(host.Snapshot(t))) < 10 {
					t.Error("there are hardly any rules")
				}
				guest.Block(t, "tcp", "203.0.113.9:80")
				if input := guest.Probe(nettest.Probe{Network: "tcp", To: hostIP + ":9"}); (input.Verdict == nettest.Reached) != (name == "docker") {
					t.Error("the host itself: ", input)
				}
				host.Reach(t, "tcp", "203.0.113.9:80")
			})
		})
	}
}
