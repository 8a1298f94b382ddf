package cli

import (
	"testing"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
)

// TestScriptsOnNetworks runs the scripts of testdata/network on a host of its own with
// an uplink, whose network must be in the end what it was.
func TestScriptsOnNetworks(t *testing.T) {
	firecracker := hosttest.Boot(t)
	nettest.Isolated(t, func(t *testing.T) {
		host := nettest.Host(t)
		host.Uplink(t, "up0", "192.0.2.2/24")
		before := host.Snapshot(t)
		t.Cleanup(func() { host.Same(t, before) })
		runScripts(t, "testdata/network", firecracker)
	})
}
