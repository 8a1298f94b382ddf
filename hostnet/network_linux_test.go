package hostnet_test

import (
	"testing"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/nettest"
)

func TestNetworkLivesAsLongAsItsLastVM(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		first, second := s.vm(t, "first"), s.vm(t, "second")
		a, b := first.attach(t, n), second.attach(t, n)
		if a.Addr.String() != "172.30.0.2/24" || b.Addr.String() != "172.30.0.3/24" || a.Gateway.String() != "172.30.0.1" {
			t.Errorf("addresses %v and %v, gateway %v", a.Addr, b.Addr, a.Gateway)
		}
		if a.MAC == b.MAC || a.Name == b.Name || len(a.Name) > 15 || a.MAC[:3] != "02:" {
			t.Errorf("TAPs %s %s and %s %s", a.Name, a.MAC, b.Name, b.MAC)
		}
		if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
			t.Errorf("faults %+v, %v", faults, err)
		}
		first.gone(t)
		if link := s.host.Link(t, "svbr0"); link.Attrs().MTU != a.MTU {
			t.Errorf("bridge %+v", link.Attrs())
		}
		second.gone(t)
		s.clean(t)
	})
}
