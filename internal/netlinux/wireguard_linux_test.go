package netlinux_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

const worldAddr = "203.0.113.9"

// tunnelled makes a host with an uplink and an exit behind it, and the host's end of a
// tunnel to it as a value, which the exit knows.
func tunnelled(t *testing.T) (host *nettest.Namespace, exit *nettest.Exit, tunnel *netconfig.Tunnel) {
	t.Helper()
	host = nettest.Host(t)
	world := host.Uplink(t, "up0", "198.51.100.1/24", worldAddr+"/32")
	world.Serve(t, "tcp", worldAddr+":80")
	exit = nettest.NewExit(t, world, "192.0.2.2/24", "10.99.0.1/24")
	private, err := wgtypes.GeneratePrivateKey()
	must(t, err)
	exit.Tunnel.AddPeer(t, private.PublicKey(), "", "10.99.0.2/32")
	return host, exit, &netconfig.Tunnel{
		PrivateKey: netconfig.Key(private),
		Addresses:  []netip.Prefix{netip.MustParsePrefix("10.99.0.2/24"), netip.MustParsePrefix("fd99::2/64")},
		ListenPort: 51899,
		Peers: []netconfig.Peer{{
			PublicKey:  netconfig.Key(exit.Tunnel.Public),
			Endpoint:   exit.Endpoint,
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("fd99::/64")},
			Keepalive:  25 * time.Second,
		}},
	}
}

// checkTunnel proves that the interface works and that its status tells so.
func checkTunnel(t *testing.T, h *netlinux.Host, host *nettest.Namespace, exit *nettest.Exit, tunnel *netconfig.Tunnel, name string) netlinux.Status {
	t.Helper()
	must(t, host.Netlink().RouteAdd(&netlink.Route{Dst: ipNet("203.0.113.0/24"), LinkIndex: look(t, name).Attrs().Index}))
	if seen := host.Reach(t, "tcp", worldAddr+":80"); seen.Addr() != exit.Addr {
		t.Errorf("the server saw %s, want the exit %s", seen, exit.Addr)
	}
	got, err := h.Tunnel(t.Context(), name)
	must(t, err)
	if len(got.Peers) != 1 || got.Peers[0].LastHandshake.IsZero() || got.Peers[0].Received == 0 || got.Peers[0].Sent == 0 {
		t.Fatalf("status: %+v", got)
	}
	want := netlinux.Status{
		Name: name, Kernel: got.Kernel, PublicKey: tunnel.PrivateKey.Public().PublicText(), ListenPort: 51899,
		Peers: []netlinux.PeerStatus{{
			PublicKey:     tunnel.Peers[0].PublicKey.PublicText(),
			Endpoint:      netip.MustParseAddrPort(exit.Endpoint),
			AllowedIPs:    tunnel.Peers[0].AllowedIPs,
			LastHandshake: got.Peers[0].LastHandshake, Received: got.Peers[0].Received, Sent: got.Peers[0].Sent,
		}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	keepsSecret(t, tunnel, fmt.Sprintf("%+v %#v", got, got))
	return got
}

// keepsSecret fails the test if a text has the private key in it.
func keepsSecret(t *testing.T, tunnel *netconfig.Tunnel, text string) {
	t.Helper()
	for _, secret := range []string{tunnel.PrivateKey.PublicText(), hex.EncodeToString(tunnel.PrivateKey[:]), fmt.Sprint([32]byte(tunnel.PrivateKey))} {
		if strings.Contains(text, strings.Trim(secret, "[]")) {
			t.Errorf("the private key is in %q", text)
		}
	}
}

// All but the making of the link is the same for the kernel's and for a program's.
func TestWireGuardIsFinishedAndTold(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		host, exit, tunnel := tunnelled(t)
		h := open(t)
		wg := host.UserspaceWireGuard(t, nettest.WireGuardConfig{Name: "wg0", Visible: true})
		wg.AddPeer(t, wgtypes.Key{1}, "", "0.0.0.0/0") // taken away
		endpoints, err := netlinux.Resolve(t.Context(), tunnel.Peers)
		must(t, err)
		before, err := h.Link("wg0")
		must(t, err)
		must(t, h.FinishWireGuard(t.Context(), before.Index, netplan.WireGuard{Name: "wg0", Tunnel: tunnel}, endpoints, mark))
		if now, err := h.Link("wg0"); err != nil || now.Alias != mark || !now.Up {
			t.Errorf("link %+v, %v", now, err)
		}
		addrs, err := host.Netlink().AddrList(look(t, "wg0"), netlink.FAMILY_ALL)
		must(t, err)
		var texts []string
		for _, a := range addrs {
			if !a.IP.IsLinkLocalUnicast() {
				texts = append(texts, a.IPNet.String())
			}
		}
		if want := []string{"10.99.0.2/24", "fd99::2/64"}; !slices.Equal(texts, want) {
			t.Errorf("addresses %q, want %q", texts, want)
		}
		if got := checkTunnel(t, h, host, exit, tunnel, "wg0"); got.Kernel {
			t.Error("a userspace interface is said to be the kernel's")
		}
	})
}

func TestAddWireGuardMakesATunnelThatWorks(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.WireGuard)
	nettest.Isolated(t, func(t *testing.T) {
		host, exit, tunnel := tunnelled(t)
		h := open(t)
		w := netplan.WireGuard{Name: "svwg0", Tunnel: tunnel, MTU: 1380}
		index, err := h.AddWireGuard(t.Context(), w, mark)
		must(t, err)
		want := netlinux.Link{Name: "svwg0", Owner: -1, Index: index, Alias: mark, Kind: "wireguard", MTU: 1380, Carrier: true, Up: true}
		if got, err := h.Link("svwg0"); err != nil || got != want {
			t.Errorf("link %+v, %v, want %+v", got, err, want)
		}
		if got := checkTunnel(t, h, host, exit, tunnel, "svwg0"); !got.Kernel {
			t.Error("an interface of the kernel is said to be a program's")
		}
		if _, err := h.AddWireGuard(t.Context(), w, foreign); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a second time: %v", err)
		}
		must(t, h.DeleteLink(t.Context(), "svwg0", index, foreign))
		if look(t, "svwg0") == nil {
			t.Error("deleted by the mark of somebody else")
		}
		must(t, h.DeleteLink(t.Context(), "svwg0", index, mark))
		if look(t, "svwg0") != nil {
			t.Error("it is there after its deletion")
		}
		// A port that is taken fails the last step: only then the kernel opens it.
		host.Serve(t, "udp", fmt.Sprintf("0.0.0.0:%d", tunnel.ListenPort))
		_, err = h.AddWireGuard(t.Context(), w, mark)
		if !errors.Is(err, unix.EADDRINUSE) || !errors.Is(err, errcode.WireGuardSetupFailed) || look(t, "svwg0") != nil {
			t.Errorf("half made: %v, link %v", err, look(t, "svwg0"))
		}
	})
}

func TestKernelWithoutWireGuardIsNamed(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		before := nettest.Host(t).Snapshot(t)
		tunnel := &netconfig.Tunnel{PrivateKey: netconfig.Key{1, 2, 3}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.99.0.2/24")}}
		_, err := h.AddWireGuard(t.Context(), netplan.WireGuard{Name: "svwg0", Tunnel: tunnel, MTU: 1420}, mark)
		if err == nil {
			t.Skip("this kernel has WireGuard")
		}
		e, ok := errors.AsType[*errcode.Error](err)
		if !ok || e.Code != errcode.WireGuardSetupFailed || !errors.Is(err, errors.ErrUnsupported) ||
			!strings.Contains(e.Hint, "modprobe wireguard") || !strings.Contains(e.Hint, "existing interface") {
			t.Errorf("got %v", err)
		}
		keepsSecret(t, tunnel, err.Error())
		nettest.Host(t).Same(t, before)
	})
}

func TestEndpointsAreLookedUpBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		add := func(ctx context.Context, endpoint string) error {
			_, err := h.AddWireGuard(ctx, netplan.WireGuard{Name: "svwg0", Tunnel: &netconfig.Tunnel{
				Peers: []netconfig.Peer{{}, {Endpoint: endpoint}},
			}}, mark)
			return err
		}
		// There is no way to any resolver in here.
		err := add(t.Context(), "vpn.example.invalid:1")
		if e, ok := errors.AsType[*errcode.Error](err); !ok || e.Code != errcode.WireGuardSetupFailed ||
			e.Subject != "vpn.example.invalid:1" || !strings.Contains(e.Hint, "DNS") {
			t.Errorf("an unknown host: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := add(ctx, "vpn.example.invalid:1"); !errors.Is(err, errcode.Cancelled) || !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		got, err := netlinux.Resolve(t.Context(), []netconfig.Peer{{Endpoint: "[2001:db8::1]:7"}, {}, {Endpoint: "192.0.2.1:8"}, {Endpoint: "localhost:9"}})
		must(t, err)
		if fmt.Sprint(got[:3]) != "[[2001:db8::1]:7 <nil> 192.0.2.1:8]" || !got[3].IP.IsLoopback() || got[3].Port != 9 {
			t.Errorf("endpoints %v", got)
		}
	})
}

func TestIPv6AddressOfATunnelIsLeftOutWhereIPv6IsOff(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		host, _, tunnel := tunnelled(t)
		h := open(t)
		host.UserspaceWireGuard(t, nettest.WireGuardConfig{Name: "wg0", Visible: true})
		host.SetSysctl(t, "net/ipv6/conf/wg0/disable_ipv6", "1")
		endpoints := make([]*net.UDPAddr, len(tunnel.Peers))
		must(t, h.FinishWireGuard(t.Context(), look(t, "wg0").Attrs().Index, netplan.WireGuard{Name: "wg0", Tunnel: tunnel}, endpoints, mark))
		addrs, err := host.Netlink().AddrList(look(t, "wg0"), netlink.FAMILY_ALL)
		if err != nil || len(addrs) != 1 {
			t.Errorf("addresses %v, %v", addrs, err)
		}
	})
}

// pretend listens as a program that runs a tunnel, and gives each client an answer;
// without one it never answers.
func pretend(t *testing.T, name, answer string) {
	t.Helper()
	// It also makes a place for sockets that is this test's own.
	nettest.Host(t).UserspaceWireGuard(t, nettest.WireGuardConfig{Name: name, Visible: true})
	listener, err := net.Listen("unix", "/run/wireguard/fake-"+name+".sock")
	must(t, err)
	t.Cleanup(func() { must(t, listener.Close()) })
	go func() {
		var deaf []net.Conn // held, or the collector would close them, which is an answer
		for {
			client, err := listener.Accept()
			if err != nil {
				break
			}
			if answer == "" {
				deaf = append(deaf, client)
				continue
			}
			_, _ = client.Write([]byte(answer))
			_ = client.Close()
		}
		for _, client := range deaf {
			_ = client.Close()
		}
	}()
}

func TestBrokenTunnelProgramsAreErrorsWithoutKeys(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		key := netconfig.Key{0xab, 0xcd, 0xef}
		pretend(t, "mad", "private_key="+hex.EncodeToString(key[:])+"=\nerrno=0\n\n")
		_, err := h.Tunnel(t.Context(), "fake-mad")
		if e, ok := errors.AsType[*errcode.Error](err); !ok || e.Code != errcode.NetworkFailed {
			t.Errorf("an answer that can't be read: %v", err)
		} else if strings.Contains(err.Error(), "abcdef") {
			t.Errorf("the key is in %q", err)
		}
		pretend(t, "deaf", "")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := h.Tunnel(ctx, "fake-deaf"); !errors.Is(err, errcode.Cancelled) {
			t.Errorf("a program that does not answer: %v", err)
		}
		if _, err := h.Tunnel(t.Context(), "lo"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an interface of another kind: %v", err)
		}
		err = netlinux.Configure(t.Context(), "none0", &netconfig.Tunnel{PrivateKey: key}, nil)
		if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EPERM) {
			t.Errorf("no interface: %v", err)
		}
	})
}
