// Package nettest is the world around the host's network, for tests: namespaces,
// peers, guests, captures and other people's rule sets. Only test files import it,
// and only those of Linux, whose names end in _linux_test.go.
//
// A test runs in a process of its own, whose network namespace is the host. Nothing
// that it does there can be seen outside, and nothing has to be undone:
//
//	func TestGuestIsHiddenBehindTheHost(t *testing.T) {
//		t.Parallel()
//		nettest.Isolated(t, func(t *testing.T) {
//			host := nettest.Host(t)
//			world := host.Uplink(t, "up0", "198.51.100.1/24", "203.0.113.9/32")
//			world.Serve(t, "tcp", "203.0.113.9:80")
//			// ... the code under test makes a bridge and the TAP "svt0" ...
//			guest := nettest.NewGuest(t, nettest.GuestConfig{
//				TAP: "svt0", MAC: "02:00:00:00:00:02", Addr: "172.30.0.2/24", Gateway: "172.30.0.1",
//			})
//			if seen := guest.Reach(t, "tcp", "203.0.113.9:80"); seen.Addr().String() != "198.51.100.1" {
//				t.Errorf("the server saw %s", seen)
//			}
//		})
//	}
//
// What must not get through is proven by packets, not by a probe that is not
// answered: a [Capture] waits for the kernel, and a lost packet fails the test.
//
//	leaked := host.Capture(t, "up0", func(p nettest.Packet) bool { return p.Dst == denied })
//	guest.Block(t, "tcp", "203.0.113.9:80")      // returns soon, whatever happens
//	guest.Send(t, nettest.Frame{                 // a lie, past the guest's own stack
//		To: guest.Resolve(t, "172.30.0.1"), From: guest.MAC, Type: nettest.TypeIPv4,
//		Payload: nettest.UDP(spoofed, netip.AddrPortFrom(denied, 53), []byte("x")),
//	})
//	guest.Flood(t, 100_000, guest.Resolve(t, "172.30.0.1"), netip.AddrPortFrom(denied, 53))
//	guest.Flush(t)                               // the pump between guest and TAP is empty
//	if packets := leaked.Stop(t); len(packets) > 0 {
//		t.Errorf("%d packets passed, the first is %+v", leaked.Count(), packets[0])
//	}
//
// Why a probe fails is a value: [Refused], [Unreachable] or [Silent] of an [Outcome].
// A connection that stays open while rules change is a [Conn]:
//
//	conn := guest.Open(t, "tcp", "203.0.113.9:80")
//	// ... the policy is replaced ...
//	if got := conn.Ask(nettest.Short); got.Verdict == nettest.Reached {
//		t.Error("the open connection outlived the policy that allowed it")
//	}
//
// That nothing is left behind, and that other people's rules are untouched, is a
// comparison of two states:
//
//	host.DockerLike(t)
//	before := host.Snapshot(t)
//	// ... set up, tear down ...
//	host.Same(t, before)
//
// Further machines are namespaces: [NewNamespace], [Connect], [Namespace.AddRoute].
// Their stacks are reached by [Namespace.Do], which is where sockets have to be
// opened, and by the handle of [Namespace.Netlink]. A tunnel whose far end is a server
// with a way out, on any kernel:
//
//	exit := nettest.NewExit(t, world, "192.0.2.2/24", "10.99.0.1/24")
//	wg := host.UserspaceWireGuard(t, nettest.WireGuardConfig{
//		Name: "wg0", Addrs: []string{"10.99.0.2/24"}, Visible: true,
//	})
//	exit.Join(t, wg)
//	// ... guests go through wg0: servers of the world see exit.Addr ...
package nettest
