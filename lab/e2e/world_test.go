package e2e_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/vmconfig"
)

// Addresses of a [world].
const (
	uplinkIP  = "198.51.100.1" // of the host, on up0
	secondIP  = "10.20.0.1"    // of the host, on lo
	routerIP  = "198.51.100.254"
	gatewayIP = "172.30.0.1" // of the host, for guests
	bridge    = "svbr0"

	exampleIP  = "203.0.113.9" // servers in the internet
	otherIP    = "203.0.113.10"
	resolverIP = "203.0.113.53"
	farIP      = "192.0.2.9"
	metadataIP = "169.254.169.254" // as clouds have it
)

// world is a host of the test's own, with an internet behind it, in a test inside of
// [nettest.Isolated]:
//
//	guests -- svbr0 HOST up0 -- wan INTERNET
//
// The internet answers TCP at the ports 80 to 83 of all its addresses, and UDP at the
// ports 80 to 82 of some.
type world struct {
	t              *testing.T
	host, internet *nettest.Namespace
	run            string // the runtime directory
}

func newWorld(t *testing.T) *world {
	t.Helper()
	hosttest.GuestKit(t)
	w := &world{t: t, host: nettest.Host(t), run: filepath.Join(shortDir(t), "run")}
	w.prime()
	w.host.AddAddr(t, "lo", secondIP+"/32")
	w.internet = w.host.Uplink(t, "up0", uplinkIP+"/24", exampleIP+"/32", otherIP+"/32", resolverIP+"/32", farIP+"/32", metadataIP+"/32")
	for _, port := range []string{":80", ":81", ":82", ":83"} {
		w.internet.Serve(t, "tcp", "0.0.0.0"+port)
	}
	for _, to := range []string{exampleIP + ":80", exampleIP + ":81", exampleIP + ":82", otherIP + ":80", otherIP + ":81", otherIP + ":82", metadataIP + ":80"} {
		w.internet.Serve(t, "udp", to) // at "any" it would answer from another address
	}
	return w
}

// prime has the kernel load what networks need, whose settings then are there for all
// namespaces, and makes what a runtime directory keeps once it has had a network.
func (w *world) prime() {
	w.t.Helper()
	must(w.t, os.Mkdir(w.run, 0o700))
	must(w.t, nettest.NewNamespace(w.t).Do(func() error {
		n, err := hostnet.New(hostnet.Options{Dir: w.run})
		if err != nil {
			return err
		}
		return errors.Join(n.Hold(w.t.Context()), n.Close())
	}))
}

// site is a [newSite] on the host. When the test ends, the host's network has to be
// what it is now.
func (w *world) site(options smartvm.Options) *site {
	w.t.Helper()
	before := w.host.Snapshot(w.t)
	w.t.Cleanup(func() { w.host.Same(w.t, before) })
	options.RuntimeDir = w.run
	return newSite(w.t, options)
}

// networked is the config of a guest with an interface, whose address is in the
// kernel's arguments.
func (s *site) networked(n vmconfig.Network) vmconfig.Config {
	s.t.Helper()
	c := s.config(baseimage.Squashfs)
	c.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0"}}
	n.IPArgument = true
	c.Network = &n
	return c
}
