package hostnet

import (
	"slices"

	"github.com/smartvm/smartvm/internal/netlinux"
)

// redirectsPath is a setting of the whole host that the kernel's WireGuard switches off
// whenever an interface of its kind goes up, and never on again (wg_open in
// drivers/net/wireguard/device.c).
const redirectsPath = "net/ipv4/conf/all/send_redirects"

// noteRedirects comes before a tunnel is made.
func (m *maker) noteRedirects() error {
	current, err := m.host.Sysctl(redirectsPath)
	if err != nil || current == "0" {
		return err
	}
	return m.record(newSysctl(redirectsPath, current, "0"), func() error { return nil })
}

// hasWireGuard reports whether the host has an interface of the kernel's WireGuard,
// which wants no redirects.
func hasWireGuard(h *netlinux.Host) (bool, error) {
	links, err := h.Links()
	return slices.ContainsFunc(links, func(l netlinux.Link) bool { return l.Kind == "wireguard" }), err
}
