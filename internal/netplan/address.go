package netplan

import (
	"crypto/sha256"
	"fmt"
	"net"
)

// HardwareAddr is an Ethernet address, written as 02:00:ac:1e:00:02.
type HardwareAddr [6]byte

// ParseHardwareAddr reads the address of one interface in any of the usual notations.
func ParseHardwareAddr(text string) (HardwareAddr, error) {
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != len(HardwareAddr{}) || mac[0]&1 != 0 {
		return HardwareAddr{}, fmt.Errorf("%q is not the address of an Ethernet interface", text)
	}
	return HardwareAddr(mac), nil
}

// String returns the usual notation.
func (a HardwareAddr) String() string { return net.HardwareAddr(a[:]).String() }

// BridgeAddr is the Ethernet address of the bridge with a mark, locally administered,
// and so that of the gateway. A bridge without an address of its own takes the lowest
// of its ports, so that the gateway that guests have learned would change with every TAP.
func BridgeAddr(mark string) HardwareAddr {
	sum := sha256.Sum256([]byte(mark))
	tail := sum[len(sum)-5:]
	return HardwareAddr{2, tail[0], tail[1], tail[2], tail[3], tail[4]}
}
