package netlinux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

// Tunnel returns the state of a WireGuard interface, whoever manages it: one of the
// kernel, or one of a program that listens in /var/run/wireguard. The error matches
// [fs.ErrNotExist] if there is no such interface, or if it is not of WireGuard.
func (h *Host) Tunnel(ctx context.Context, name string) (Status, error) {
	var s Status
	err := control(ctx, func(c *wgctrl.Client) error {
		device, err := c.Device(name)
		if err == nil {
			s = status(device)
		}
		return err
	})
	if err != nil {
		return Status{}, failed(errcode.NetworkFailed, "read wireguard interface", name, err)
	}
	return s, nil
}

// configure gives an interface its keys and peers, and takes away peers that it has.
// Endpoints are those of the tunnel's peers, in their order.
func configure(ctx context.Context, name string, t *netconfig.Tunnel, endpoints []*net.UDPAddr) error {
	private, port, mark := wgtypes.Key(t.PrivateKey), t.ListenPort, int(t.Mark)
	config := wgtypes.Config{PrivateKey: &private, ListenPort: &port, FirewallMark: &mark, ReplacePeers: true}
	for i, p := range t.Peers {
		peer := wgtypes.PeerConfig{
			PublicKey: wgtypes.Key(p.PublicKey), Endpoint: endpoints[i], ReplaceAllowedIPs: true,
			PersistentKeepaliveInterval: &p.Keepalive,
		}
		if !p.PresharedKey.IsZero() {
			preshared := wgtypes.Key(p.PresharedKey)
			peer.PresharedKey = &preshared
		}
		for _, a := range p.AllowedIPs {
			peer.AllowedIPs = append(peer.AllowedIPs, net.IPNet{
				IP: a.Masked().Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen()),
			})
		}
		config.Peers = append(config.Peers, peer)
	}
	err := control(ctx, func(c *wgctrl.Client) error { return c.ConfigureDevice(name, config) })
	if err != nil {
		return fmt.Errorf("set keys and peers: %w", err)
	}
	return nil
}

// control does something by a client of its own: one that was made before the
// kernel's module was loaded would not see its interfaces. The socket of a program
// that has stopped answering never returns, so the caller does not wait for it
// beyond ctx; what f has set is to be used only without an error.
func control(ctx context.Context, f func(*wgctrl.Client) error) error {
	done := make(chan error, 1)
	go func() {
		client, err := wgctrl.New()
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = client.Close() }()
		done <- f(client)
	}()
	select {
	case err := <-done:
		return withoutKeys(err)
	case <-ctx.Done():
		return &errcode.Error{Code: errcode.Cancelled, Op: "ask", Subject: "wireguard", Err: context.Cause(ctx)}
	}
}

// withoutKeys keeps errors of the system, and drops the library's own: those quote
// lines of a program's answer that can't be read, and keys are in such lines.
func withoutKeys(err error) error {
	var errno unix.Errno
	var call *os.SyscallError
	if err == nil || errors.As(err, &errno) || errors.As(err, &call) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.New("the interface's answer can't be read")
}

func status(d *wgtypes.Device) Status {
	s := Status{Name: d.Name, Kernel: d.Type == wgtypes.LinuxKernel, ListenPort: d.ListenPort}
	if d.PrivateKey != (wgtypes.Key{}) {
		s.PublicKey = netconfig.Key(d.PublicKey).PublicText()
	}
	for _, p := range d.Peers {
		peer := PeerStatus{
			PublicKey:     netconfig.Key(p.PublicKey).PublicText(),
			LastHandshake: p.LastHandshakeTime,
			Received:      uint64(p.ReceiveBytes), Sent: uint64(p.TransmitBytes),
		}
		if p.Endpoint != nil {
			endpoint := p.Endpoint.AddrPort()
			peer.Endpoint = netip.AddrPortFrom(endpoint.Addr().Unmap(), endpoint.Port())
		}
		for _, a := range p.AllowedIPs {
			if addr, ok := netip.AddrFromSlice(a.IP); ok {
				bits, _ := a.Mask.Size()
				peer.AllowedIPs = append(peer.AllowedIPs, netip.PrefixFrom(addr.Unmap(), bits))
			}
		}
		s.Peers = append(s.Peers, peer)
	}
	return s
}
