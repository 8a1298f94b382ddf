package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/vmconfig"
)

func TestGuestIsOnTheNetworkThatItsManagerMakes(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		claims(t, "S9.3, S9.5", "A guest gets a TAP of its own, the argument ip= configures it, and it reaches its gateway")
		claims(t, "S9.4", "The internet sees connections of guests come from the host, and its answers reach them")
		claims(t, "S9.1", "The host connects to a guest, and the guest to the ports of the host that the network allows")
		claims(t, "S9.3", "A forwarded port of the host leads to the guest, for the host itself and for others, and the guest sees who they are")
		claims(t, "S9.5", "A guest resolves names by the resolvers that the network names")
		claims(t, "S9.3", "A guest on a TAP that the caller has asked for is on the network as well, and the TAP outlives its VM")
		claims(t, "S10.1", "Guests reach each other if the network allows it")
		claims(t, "S9.4, S9.6", "Cleanup takes away all of a network and puts settings back, and what others had on the host is as before")
		w := newWorld(t)
		w.others()
		questions := w.resolver("db.example", exampleIP)
		s := w.site(smartvm.Options{Network: netconfig.Config{
			DNS: []netip.Addr{netip.MustParseAddr(resolverIP)}, AllowHost: []netconfig.HostPort{{Port: 7000}}, AllowPeers: true,
		}})
		vm, g := s.boot(s.networked(vmconfig.Network{Forwards: []netconfig.Forward{
			{HostIP: netip.IPv4Unspecified(), HostPort: 8080, GuestPort: 80},
		}}))
		tap := vm.TAPs()[0]
		if got := output(t, g, "cat /sys/class/net/eth0/address; ip -o -4 addr show eth0"); !strings.HasPrefix(got, tap.MAC+"\n") ||
			!strings.Contains(got, " "+tap.Addr.String()+" ") {
			t.Errorf("the guest has %q, want %s and %s", got, tap.MAC, tap.Addr)
		}
		addr := tap.Addr.Addr().String()
		reach(t, g, "icmp", gatewayIP)
		w.host.Serve(t, "tcp", gatewayIP+":7000")
		wantReached(t, g, "tcp", gatewayIP+":7000", addr)

		bare := watch(t, w.internet, "wan", func(p nettest.Packet) bool { return tap.Addr.Contains(p.Src) || tap.Addr.Contains(p.Dst) })
		wantReached(t, g, "tcp", exampleIP+":80", uplinkIP)
		wantReached(t, g, "udp", exampleIP+":80", uplinkIP)
		reach(t, g, "icmp", exampleIP)
		bare.none("guests' own addresses in the internet")

		serve(t, g)
		wantVisitor(t, w.host, addr+":80", gatewayIP)
		wantVisitor(t, w.host, "127.0.0.1:8080", gatewayIP)
		wantVisitor(t, w.internet, uplinkIP+":8080", routerIP)

		if got := output(t, g, "nslookup db.example"); !strings.Contains(got, exampleIP) {
			t.Errorf("the name is resolved to %q", got)
		}
		if got := <-questions; got != uplinkIP {
			t.Errorf("the resolver was asked by %s, want %s", got, uplinkIP)
		}
		w.testPeer(s, g)
	})
}

// testPeer boots another guest, on a TAP that is the caller's.
func (w *world) testPeer(s *site, g *guest.Guest) {
	t := w.t
	t.Helper()
	tap, err := s.manager.Network().CreateTAP(patient(t), "peer", "eth0")
	must(t, err)
	config := s.config(baseimage.Squashfs)
	config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0", HostDevName: tap.Name, GuestMAC: tap.MAC}}
	config.BootSource.BootArgs += " " + tap.IPArgument("eth0")
	vm, peer := s.boot(config)
	wantReached(t, peer, "tcp", exampleIP+":80", uplinkIP)
	serve(t, peer)
	got := output(t, g, fmt.Sprintf("wget -qO- http://%s%s", tap.Addr.Addr(), visitorPath))
	if want := output(t, g, "ip -o -4 addr show eth0"); !strings.Contains(want, " "+got+"/") {
		t.Errorf("the peer is visited by %q, and the guest has %q", got, want)
	}
	must(t, vm.Cleanup(patient(t)))
	w.host.Link(t, tap.Name)
}

// others puts on the host what is not smartvm's.
func (w *world) others() {
	w.t.Helper()
	must(w.t, w.host.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	w.host.AddAddr(w.t, "br0", "172.31.0.1/24")
	w.host.Up(w.t, "br0")
	w.host.Masquerade(w.t, "br0")
	w.host.SetSysctl(w.t, "net/ipv4/ip_forward", "0")
	must(w.t, w.host.Netlink().RuleAdd(&netlink.Rule{
		Family: netlink.FAMILY_V4, Priority: 500, Table: 500, Mark: 0x500, Goto: -1, Flow: -1, SuppressIfgroup: -1, SuppressPrefixlen: -1,
	}))
}

// Where the server of [serve] tells who asks.
const visitorPath = "/cgi-bin/who"

// serve starts a server in the guest, at port 80, that tells who asks.
func serve(t *testing.T, g *guest.Guest) {
	t.Helper()
	output(t, g, `d=/tmp/www/cgi-bin; mkdir -p $d && printf '#!/bin/sh\necho; echo $REMOTE_ADDR\n' >$d/who && chmod +x $d/who && `+
		`httpd -p 0.0.0.0:80 -h /tmp/www >/dev/null 2>&1`) // it goes to the background when it listens
}

// wantVisitor wants the guest's server to be reached, and to see who asks.
func wantVisitor(t *testing.T, from *nettest.Namespace, to, seen string) {
	t.Helper()
	page := fetch(t, from, to, visitorPath)
	if lines := strings.Fields(page); len(lines) == 0 || lines[len(lines)-1] != seen {
		t.Errorf("%s tells %q, want that it was %s", to, page, seen)
	}
}

// fetch gets a page of a guest's server, with its head.
func fetch(t *testing.T, from *nettest.Namespace, to, path string) string {
	t.Helper()
	conn := dial(t, from, to)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path)
	must(t, err)
	page, err := io.ReadAll(conn)
	must(t, err)
	return string(page)
}

// dial connects by TCP. A guest that is emulated on a busy host may take longer to say
// which MAC address it has than the kernel waits for that, which is three seconds.
func dial(t *testing.T, from *nettest.Namespace, to string) (conn net.Conn) {
	t.Helper()
	ctx := patient(t)
	for {
		err := from.Do(func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, "tcp", to)
			return err
		})
		if errors.Is(err, unix.EHOSTUNREACH) && ctx.Err() == nil {
			continue
		}
		must(t, err)
		return conn
	}
}

// resolver starts a name server in the internet that knows one name. It tells who asks.
func (w *world) resolver(name, addr string) <-chan string {
	w.t.Helper()
	var conn net.PacketConn
	must(w.t, w.internet.Do(func() (err error) {
		conn, err = new(net.ListenConfig).ListenPacket(w.t.Context(), "udp", resolverIP+":53")
		return err
	}))
	asked, done := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 512); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(from.String())
			asked <- host
			_, _ = conn.WriteTo(resolve(buf[:n], name, addr), from)
		}
	}()
	w.t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return asked
}

// resolve answers a question of DNS (RFC 1035, section 4): with an address if it is
// about that of the name, else with nothing.
func resolve(question []byte, name, addr string) []byte {
	const head = 12
	var encoded string
	for label := range strings.SplitSeq(name, ".") {
		encoded += string(rune(len(label))) + label
	}
	encoded += "\x00"
	if len(question) < head+len(encoded)+4 {
		return nil
	}
	asked := question[head : head+len(encoded)+4]
	reply := append([]byte{question[0], question[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, asked...)
	if string(asked) == encoded+"\x00\x01\x00\x01" { // type A, class IN
		reply[7] = 1
		reply = append(reply, 0xc0, head, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4) // the same name, 60 s, 4 bytes
		reply = append(reply, netip.MustParseAddr(addr).AsSlice()...)
	}
	return reply
}
