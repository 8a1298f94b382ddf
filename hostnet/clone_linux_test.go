package hostnet_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/proc"
)

// inside is a clone's own view.
func inside() *hostnet.Inside {
	return &hostnet.Inside{MAC: "02:00:00:00:00:01", Addr: netip.MustParseAddr("172.30.0.200")}
}

// newNamespace makes one that the test closes at its end, unless it has done so before.
func newNamespace(t *testing.T) *hostnet.Namespace {
	t.Helper()
	ns, err := hostnet.NewNamespace()
	try(t, err)
	t.Cleanup(func() { _ = ns.Close() })
	return ns
}

// attachClone gives the VM the interface of a clone.
func (v *tenant) attachClone(t *testing.T, n *hostnet.Network, iface string, in *hostnet.Inside) *hostnet.TAP {
	t.Helper()
	tap, err := n.Attach(t.Context(), v, v.Dir(), hostnet.Request{VM: v.id, Iface: iface, Inside: in})
	try(t, err)
	return tap
}

// Nobody has to do anything for what is in a clone's namespace, nor for the port that
// leads to it.
func TestPortOfACloneGoesWithItsLastProcess(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		v := s.vm(t, "vm")
		in := inside()
		in.Namespace = newNamespace(t)
		tap := v.attachClone(t, n, "eth0", in)
		process := startIn(t, in.Namespace.File())
		try(t, in.Namespace.Close())
		if !s.hasLink(tap.Port) {
			t.Fatal("the port is gone before the process")
		}
		try(t, process.Signal(unix.SIGKILL))
		<-process.Done()
		for end := time.Now().Add(nettest.Long); s.hasLink(tap.Port); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the port is still there")
			}
		}
		if faults, err := n.Check(t.Context()); err != nil || !strings.Contains(textOf(faults), tap.Port) {
			t.Errorf("faults: %s, %v", textOf(faults), err)
		}
		try(t, n.Repair(t.Context())) // of what others have
		v.gone(t)
		s.clean(t)
	})
}

// startIn starts a process in a namespace, as Firecracker is started.
func startIn(t *testing.T, ns *os.File) *proc.Process {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	try(t, err)
	defer null.Close()
	process, err := proc.Start(proc.Spec{
		Path: hosttest.Path(t, "sleep"), Args: []string{"60"}, Stdin: null, Stdout: null, Stderr: null,
		Isolate: func() error { return proc.EnterNetwork(ns) },
	})
	try(t, err)
	t.Cleanup(func() {
		_ = process.Signal(unix.SIGKILL)
		<-process.Done()
	})
	return process
}

// A clone that is given back leaves nothing on the host, whether its namespace is still
// there or not, and its name is free at once.
func TestCloneThatIsGivenBackCanComeAgain(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		var port string
		for _, early := range []bool{false, true, true, false} {
			v := s.vm(t, "vm")
			in := inside()
			in.Namespace = newNamespace(t)
			tap := v.attachClone(t, n, "eth0", in)
			if port != "" && tap.Port != port {
				t.Errorf("the port is %s, before it was %s", tap.Port, port)
			}
			port = tap.Port
			if early {
				try(t, in.Namespace.Close())
			}
			v.gone(t)
			if s.hasLink(port) {
				t.Error("the port is still there")
			}
		}
		s.clean(t)
	})
}

func TestInterfacesOfOneCloneShareItsNamespace(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		v := s.vm(t, "vm")
		ns := newNamespace(t)
		for iface, tap := range map[string]string{"eth0": "tap0", "eth1": "tap1"} {
			in := inside()
			in.Namespace, in.TAP = ns, tap
			if got := v.attachClone(t, n, iface, in); got.Name != tap || got.Port == "" || got.Port == tap {
				t.Errorf("got %+v", got)
			}
		}
		in := inside()
		in.Namespace, in.TAP = ns, "tap1"
		other := s.vm(t, "other")
		_, err := n.Attach(t.Context(), other, other.Dir(), hostnet.Request{VM: "other", Iface: "eth0", Inside: in})
		if !errors.Is(err, errcode.TapCreateFailed) {
			t.Errorf("a TAP that is there: %v, want TAP_CREATE_FAILED", err)
		}
		other.gone(t)
		v.gone(t)
		s.clean(t)
	})
}

// Firecracker may open a clone's TAP before it is on the network, and as another user than
// the one that it was made for.
func TestTAPOfACloneCanBeThereBeforeItsNetwork(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		ns := newNamespace(t)
		there := nettest.Namespaced(t, ns.File())
		for _, owner := range []int{0, 1234, 1234} {
			try(t, ns.AddTAP("tap0", owner))
			if got := there.Link(t, "tap0").(*netlink.Tuntap); int(got.Owner) != owner {
				t.Errorf("its owner is %d, want %d", got.Owner, owner)
			}
		}
		index := there.Link(t, "tap0").Attrs().Index
		for _, name := range []string{"", "../tap", "tap%d", "a-name-too-long-for-a-link"} {
			if err := ns.AddTAP(name, 0); !errors.Is(err, errcode.InvalidInterfaceName) {
				t.Errorf("%q: %v, want INVALID_INTERFACE_NAME", name, err)
			}
		}
		v := s.vm(t, "vm")
		in := inside()
		in.Namespace = ns
		_, err := n.Attach(t.Context(), v, v.Dir(), hostnet.Request{VM: "vm", Iface: "eth0", Owner: 1234, Inside: in})
		try(t, err)
		if got := there.Link(t, "tap0").Attrs(); got.Index != index || got.Flags&net.FlagUp == 0 {
			t.Errorf("it is %+v, was link %d", got, index)
		}
		if err := ns.AddTAP("tap0", 0); !errors.Is(err, errcode.TapCreateFailed) {
			t.Errorf("a TAP that an interface has: %v, want TAP_CREATE_FAILED", err)
		}
		v.gone(t)
		s.clean(t)
	})
}

func TestCloneThatCanNotBeIsRefusedBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		try(t, n.Hold(t.Context()))
		up := s.host.Snapshot(t)
		for name, change := range map[string]func(*hostnet.Inside){
			"no namespace":                 func(i *hostnet.Inside) { i.Namespace = nil },
			"no MAC":                       func(i *hostnet.Inside) { i.MAC = "" },
			"MAC of a group":               func(i *hostnet.Inside) { i.MAC = "03:00:00:00:00:01" },
			"no address":                   func(i *hostnet.Inside) { i.Addr = netip.Addr{} },
			"IPv6":                         func(i *hostnet.Inside) { i.Addr = netip.MustParseAddr("fd00::1") },
			"the gateway's address":        func(i *hostnet.Inside) { i.Addr = netip.MustParseAddr("172.30.0.1") },
			"gateway of a group":           func(i *hostnet.Inside) { i.Gateway = netip.MustParseAddr("224.0.0.1") },
			"gateway's MAC that is none":   func(i *hostnet.Inside) { i.GatewayMAC = "gateway" },
			"TAP with a name that is none": func(i *hostnet.Inside) { i.TAP = "../tap" },
		} {
			v := s.vm(t, "vm")
			in := inside()
			in.Namespace = newNamespace(t)
			change(in)
			_, err := n.Attach(t.Context(), v, v.Dir(), hostnet.Request{VM: "vm", Iface: "eth0", Inside: in})
			if !errors.Is(err, errcode.InvalidConfig) && !errors.Is(err, errcode.InvalidInterfaceName) {
				t.Errorf("%s: %v", name, err)
			}
			if left := v.View().Resources; len(left) > 0 {
				t.Errorf("%s: recorded %v", name, left)
			}
			v.gone(t)
		}
		s.host.Same(t, up)
		try(t, n.Close())
		s.clean(t)
	})
}

// What others see: the lease, the plan, the list.
func TestCloneIsToldOf(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		v := s.vm(t, "vm")
		in := inside()
		in.Namespace = newNamespace(t)
		tap := v.attachClone(t, n, "eth0", in)
		want := hostnet.Inside{TAP: "tap0", MAC: in.MAC, Addr: in.Addr, Gateway: tap.Gateway, GatewayMAC: tap.GatewayMAC}
		info, err := n.Info(t.Context())
		try(t, err)
		if len(info.Guests) != 1 || info.Guests[0].TAP != tap.Port || info.Guests[0].Addr != tap.Addr.Addr() {
			t.Fatalf("guests: %+v", info.Guests)
		}
		if got := info.Guests[0].Inside; got == nil || *got != want {
			t.Errorf("inside: %+v, want %+v", got, want)
		}
		text, err := n.Plan(t.Context())
		try(t, err)
		if !strings.Contains(text, "Namespace of "+tap.Port) || !strings.Contains(text, "knows itself as 172.30.0.200") {
			t.Errorf("the plan does not tell of the clone:\n%s", text)
		}
		if mac := s.host.Link(t, "svbr0").Attrs().HardwareAddr.String(); mac != tap.GatewayMAC {
			t.Errorf("the gateway is at %s, told %s", mac, tap.GatewayMAC)
		}
		if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
			t.Errorf("faults: %v, %v", faults, err)
		}
		v.gone(t)
		s.clean(t)
	})
}

// A network that somebody has damaged is repaired with its clones, whose own
// namespaces nobody can have damaged.
func TestRepairConnectsClonesAgain(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s, n := sceneWithOriginal(t, config(bridge, ""))
		c := s.clone(t, n, vm("a"), original())
		c.Reach(t, "tcp", exampleIP+":80")
		for name, damage := range map[string]func(){
			"tables flushed": func() { s.host.FlushRules(t) },
			"bridge deleted": func() { s.host.Delete(t, bridge) },
			"port down":      func() { s.host.Down(t, c.tap.Port) },
		} {
			damage()
			if faults, err := n.Check(t.Context()); err != nil || len(faults) == 0 {
				t.Errorf("%s: faults %v, %v", name, faults, err)
			}
			must(t, n.Repair(t.Context()))
			if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
				t.Errorf("%s, repaired: faults %v, %v", name, faults, err)
			}
			c.Reach(t, "tcp", exampleIP+":80")
			if mtu := s.host.Link(t, bridge).Attrs().MTU; mtu != c.tap.MTU {
				t.Errorf("%s, repaired: the bridge has the MTU %d", name, mtu)
			}
		}
	})
}
