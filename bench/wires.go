package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// The way of the stream: guest, bridge, host, uplink, internet.
const (
	uplinkName   = "uplink0"
	uplinkAddr   = "198.18.1.1/24"
	internetAddr = "198.18.1.2/24"
)

// addWire joins the namespace of the process and another one. The far end, wire0, has
// an address.
func addWire(name string, to *namespace, mac net.HardwareAddr, addr string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: farEnd, PeerHardwareAddr: mac, PeerNamespace: netlink.NsFd(int(to.file.Fd()))}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add the wire %s: %w", name, err)
	}
	return to.do(func() error { return setUp(farEnd, addr) })
}

// farEnd is the name of the end that is not the host's.
const farEnd = "wire0"

func setUp(name, addr string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	ip, err := netlink.ParseAddr(addr)
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(link, ip), netlink.LinkSetUp(link))
}

func addDefaultRoute(via netip.Addr) error {
	everything := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	return netlink.RouteAdd(&netlink.Route{Dst: everything, Gw: via.AsSlice()})
}

// setSegments chooses between packets of many segments, as a guest with offloads
// sends them, and one packet for each.
func setSegments(one bool) error {
	link, err := netlink.LinkByName(farEnd)
	if err != nil {
		return err
	}
	segments := 65535 // GSO_MAX_SEGS of the kernel
	if one {
		segments = 1
	}
	return netlink.LinkSetGSOMaxSegs(link, segments)
}
