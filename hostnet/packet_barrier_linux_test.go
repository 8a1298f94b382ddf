package hostnet_test

import (
	"net/netip"
	"os/exec"
	"testing"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// firewall is somebody else's.
type firewall struct {
	name string
	load func(n *nettest.Namespace, tb testing.TB)
	tool string
	// input is set when it keeps others from the host itself.
	input bool
}

var firewalls = []firewall{
	{"docker", (*nettest.Namespace).DockerLike, "iptables-nft-restore", false},
	{"ufw", (*nettest.Namespace).UfwLike, "iptables-nft-restore", true},
	{"firewalld", (*nettest.Namespace).FirewalldLike, "nft", true},
}

// listed returns the rules of a namespace as nft lists them, without counters.
func listed(t *testing.T, n *nettest.Namespace) string {
	t.Helper()
	var text []byte
	must(t, n.Do(func() (err error) {
		text, err = exec.CommandContext(t.Context(), hosttest.Path(t, "nft"), "--stateless", "list", "ruleset").Output()
		return err
	}))
	return string(text)
}

// stranger sends what no firewall of them lets through the host, and reports whether it
// left on the uplink.
func (s *scene) stranger(t *testing.T) bool {
	t.Helper()
	out := s.host.Capture(t, "up0", func(p nettest.Packet) bool { return p.Outgoing && p.Src.String() == neighbour })
	in := s.host.Capture(t, "up1", func(p nettest.Packet) bool { return !p.Outgoing && p.Dst.String() == routerIP })
	s.lan.Probe(nettest.Probe{Network: "udp", To: routerIP + ":4000"})
	some(t, in, "the neighbour to the router, on the LAN")
	out.Stop(t)
	return out.Count() > 0
}

func TestPacketsPassFirewallsThatDropWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	for _, f := range firewalls {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				s := newScene(t)
				hosttest.Need(t, hosttest.Tool(f.tool), hosttest.Tool("nft"))
				s.lan.AddRoute(t, "198.51.100.0/24", secondIP)
				s.host.SetSysctl(t, "net/ipv4/ip_forward", "1")
				s.lan.Reach(t, "icmp", secondIP) // a link that was just made may lose its first packets
				if !s.stranger(t) {
					t.Error("the stranger does not even pass without a firewall")
				}
				f.load(s.host, t)
				before, text := s.host.Snapshot(t), listed(t, s.host)

				n := s.network(t, netconfig.Config{})
				g := s.join(t, n, f.request())
				f.passes(t, s, g)
				if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
					t.Errorf("Check says %+v, %v", faults, err)
				}
				must(t, n.Repair(t.Context())) // which has nothing to do
				g.Close()
				g.nic.release(t)
				must(t, n.Close())
				s.host.Same(t, before)
				if got := listed(t, s.host); got != text {
					t.Errorf("rules before:\n%s\nand after:\n%s", text, got)
				}
			})
		})
	}
}

func TestPacketsPassAgainAfterARepairWhenAFirewallWasLoaded(t *testing.T) {
	t.Parallel()
	for _, f := range firewalls {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				s := newScene(t)
				hosttest.Need(t, hosttest.Tool(f.tool), hosttest.Tool("nft"))
				alone := nettest.NewNamespace(t)
				f.load(alone, t)
				s.lan.AddRoute(t, "198.51.100.0/24", secondIP)
				n := s.network(t, netconfig.Config{})
				g := s.join(t, n, f.request())
				g.Reach(t, "tcp", exampleIP+":80")
				for _, when := range []string{"loaded", "loaded again"} {
					f.reload(t, s, when)
					g.Block(t, "tcp", exampleIP+":80")
					faults, err := n.Check(t.Context())
					must(t, err)
					if !hasFault(faults, "drops guests' traffic") {
						t.Errorf("%s: Check says %+v", when, faults)
					}
					must(t, n.Repair(t.Context()))
					if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
						t.Errorf("%s: after the repair Check says %+v, %v", when, faults, err)
					}
					f.passes(t, s, g)
				}
				g.Close()
				g.nic.release(t)
				must(t, n.Close())
				if want, got := listed(t, alone), listed(t, s.host); got != want {
					t.Errorf("rules of the firewall alone:\n%s\nand after the network:\n%s", want, got)
				}
			})
		})
	}
}

// reload loads the rules, in the place of those that are there.
func (f firewall) reload(t *testing.T, s *scene, when string) {
	t.Helper()
	switch {
	case when != "loaded again":
		f.load(s.host, t)
	case f.name == "docker": // whose bridge stays
		s.host.Load(t, "docker.iptables")
	case f.name == "firewalld":
		must(t, s.host.Do(func() error {
			return exec.CommandContext(t.Context(), hosttest.Path(t, "nft"), "delete table inet firewalld").Run()
		}))
		f.load(s.host, t)
	default:
		f.load(s.host, t)
	}
}

func (f firewall) request() hostnet.Request {
	return forwarded("a", netconfig.Forward{HostIP: netip.IPv4Unspecified(), HostPort: 2000, GuestPort: 80}, netconfig.Forward{HostPort: 1000, GuestPort: 80})
}

// passes fails unless guests have all that they should have, and nobody else more than
// the firewall allows.
func (f firewall) passes(t *testing.T, s *scene, g *guest) {
	t.Helper()
	g.serve(t)
	for _, network := range []string{"tcp", "udp"} {
		if seen := g.Reach(t, network, exampleIP+":80"); seen.Addr().String() != uplinkIP {
			t.Errorf("%s: seen as %s, want %s", network, seen, uplinkIP)
		}
	}
	g.Reach(t, "icmp", exampleIP)
	g.Reach(t, "icmp", gatewayIP)
	if seen := s.lan.Reach(t, "tcp", secondIP+":2000"); seen.Addr().String() != neighbour {
		t.Errorf("forwarded port: seen as %s, want %s", seen, neighbour)
	}
	s.host.Reach(t, "tcp", "127.0.0.1:1000")
	g.Block(t, "tcp", metadataIP+":80")
	s.lan.Block(t, "tcp", g.Addr.String()+":80")
	if s.stranger(t) {
		t.Error("what is none of the network's passes the firewall")
	}
}

// What Docker publishes on the host is a service of the host, although its packets are
// forwarded.
func TestPacketsDoNotReachPublishedPortsOfContainers(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		s.host.DockerLike(t)
		container := nettest.NewNamespace(t)
		s.host.JoinBridge(t, container, "docker0", "172.17.0.2/16", "172.17.0.1")
		container.Serve(t, "tcp", "0.0.0.0:80")
		g := s.join(t, s.network(t, netconfig.Config{}), vm("a"))
		s.lan.Reach(t, "tcp", secondIP+":8081")
		for _, ip := range []string{gatewayIP, uplinkIP, secondIP, "172.17.0.1"} {
			g.Block(t, "tcp", ip+":8081")
		}
		container.Block(t, "icmp", g.Addr.String())
	})
}
