package nettest

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// socketDir is where programs look for the sockets of userspace WireGuard.
const socketDir = "/run/wireguard"

// WireGuardConfig is how an end of a tunnel is made.
type WireGuardConfig struct {
	Name  string   // of the link
	Addrs []string // with the prefix's length: "10.99.0.2/24"
	Port  int      // default: as the kernel likes
	MTU   int      // default 1420
	// Visible gives it the socket by which wg and wgctrl find it. Only a test inside
	// of [Isolated] can have that: the name is taken in the file system.
	Visible bool
}

// WireGuard is an end of a tunnel that is run by this process, as wireguard-go does,
// since not every kernel has WireGuard. To others its link is a TUN.
type WireGuard struct {
	Name            string
	Private, Public wgtypes.Key
	Addr            netip.Addr // the first

	device *device.Device
	socket net.Listener
	serve  sync.WaitGroup
	close  sync.Once
}

// UserspaceWireGuard makes an end of a tunnel in the namespace, up and with new keys.
// It is gone at the end of the test.
func (n *Namespace) UserspaceWireGuard(tb testing.TB, c WireGuardConfig) *WireGuard {
	tb.Helper()
	if c.MTU == 0 {
		c.MTU = device.DefaultMTU
	}
	private, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		tb.Fatal(err)
	}
	w := &WireGuard{Name: c.Name, Private: private, Public: private.PublicKey()}
	err = n.Do(func() error {
		link, err := tun.CreateTUN(c.Name, c.MTU)
		if err != nil {
			return err
		}
		logger := &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf}
		w.device = device.NewDevice(link, inside{conn.NewStdNetBind(), n}, logger)
		return nil
	})
	if err != nil {
		tb.Fatalf("make the tunnel %s: %v", c.Name, err)
	}
	tb.Cleanup(w.Close)
	w.set(tb, fmt.Sprintf("private_key=%s\nlisten_port=%d\n", hex.EncodeToString(private[:]), c.Port))
	n.AddAddr(tb, c.Name, c.Addrs...)
	if len(c.Addrs) > 0 {
		w.Addr = netip.MustParsePrefix(c.Addrs[0]).Addr()
	}
	n.Up(tb, c.Name)
	if err := w.device.Up(); err != nil { // it also hears of the link, but some time
		tb.Fatal(err)
	}
	if c.Visible {
		w.listen(tb)
	}
	return w
}

// AddPeer adds the other end. Without an endpoint, "192.0.2.2:51820", the other end
// has to begin. Allowed are the prefixes whose packets go there and come from there.
func (w *WireGuard) AddPeer(tb testing.TB, public wgtypes.Key, endpoint string, allowed ...string) {
	tb.Helper()
	text := "public_key=" + hex.EncodeToString(public[:]) + "\n"
	if endpoint != "" {
		text += "endpoint=" + endpoint + "\n"
	}
	w.set(tb, text+"replace_allowed_ips=true\nallowed_ip="+strings.Join(allowed, "\nallowed_ip=")+"\n")
}

// Close ends the tunnel's end; its link is gone.
func (w *WireGuard) Close() {
	w.close.Do(func() {
		if w.socket != nil {
			_ = w.socket.Close()
		}
		w.device.Close()
		w.serve.Wait()
	})
}

func (w *WireGuard) set(tb testing.TB, text string) {
	tb.Helper()
	if err := w.device.IpcSet(text); err != nil {
		tb.Fatalf("configure the tunnel %s: %v", w.Name, err)
	}
}

// own hides the sockets of the host, and of tests that run at the same time.
var own = sync.OnceValue(func() error {
	if err := os.MkdirAll(socketDir, 0o755); err != nil { //nolint:gosec // as wireguard-go makes it
		return err
	}
	return unix.Mount("tmpfs", socketDir, "tmpfs", 0, "mode=0755")
})

func (w *WireGuard) listen(tb testing.TB) {
	tb.Helper()
	if os.Getenv(isolatedVar) == "" {
		tb.Fatal("a visible tunnel needs a test in namespaces of its own")
	}
	if err := own(); err != nil {
		tb.Fatal(err)
	}
	var err error
	if w.socket, err = new(net.ListenConfig).Listen(tb.Context(), "unix", filepath.Join(socketDir, w.Name+".sock")); err != nil {
		tb.Fatal(err)
	}
	w.serve.Go(func() {
		for {
			client, err := w.socket.Accept()
			if err != nil {
				return
			}
			go w.device.IpcHandle(client) // ends with the client
		}
	})
}

// inside opens the sockets of a tunnel in its namespace: they are opened whenever the
// device goes up, on any thread.
type inside struct {
	conn.Bind

	ns *Namespace
}

// Open opens the sockets.
func (i inside) Open(port uint16) (receive []conn.ReceiveFunc, actual uint16, err error) {
	err = i.ns.Do(func() (err error) {
		receive, actual, err = i.Bind.Open(port)
		return err
	})
	return receive, actual, err
}

// exitPort is WireGuard's usual port.
const exitPort = 51820

// Exit is a tunnel's far end with a way out: a namespace behind the world's, that
// sends what comes out of the tunnel on under its own address.
type Exit struct {
	*Namespace

	Tunnel   *WireGuard
	Addr     netip.Addr // under which the tunnel's packets reach the world
	Endpoint string     // for the other end's peer
}

// NewExit makes an exit with the address addr ("192.0.2.2/24") on its link "wan", which
// leads to the world, and inner ("10.99.0.1/24") in the tunnel.
func NewExit(tb testing.TB, world *Namespace, addr, inner string) *Exit {
	tb.Helper()
	prefix := netip.MustParsePrefix(addr)
	gateway := last(prefix)
	e := &Exit{
		Namespace: NewNamespace(tb), Addr: prefix.Addr(),
		Endpoint: netip.AddrPortFrom(prefix.Addr(), exitPort).String(),
	}
	Connect(tb, End{In: e.Namespace, Iface: "wan", Addrs: []string{addr}},
		End{In: world, Iface: "exit", Addrs: []string{netip.PrefixFrom(gateway, prefix.Bits()).String()}})
	world.SetSysctl(tb, "net/ipv4/ip_forward", "1")
	e.AddRoute(tb, "0.0.0.0/0", gateway.String())
	e.Masquerade(tb, "wan")
	e.Tunnel = e.UserspaceWireGuard(tb, WireGuardConfig{Name: "wg0", Addrs: []string{inner}, Port: exitPort})
	return e
}

// Join makes w and the exit peers. All of w's packets may go through the exit.
func (e *Exit) Join(tb testing.TB, w *WireGuard) {
	tb.Helper()
	e.Tunnel.AddPeer(tb, w.Public, "", netip.PrefixFrom(w.Addr, w.Addr.BitLen()).String())
	w.AddPeer(tb, e.Tunnel.Public, e.Endpoint, "0.0.0.0/0", "::/0")
}
