package hostnet

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
)

// tapName is the name of the TAP of an interface, the same whenever it is asked for:
// ids of VMs share prefixes, so it has none of them. Attempt counts those that are
// taken.
func tapName(owner netplan.Owner, bridge, vm, iface string, attempt int) string {
	sum := hash("tap", owner.ID, bridge, vm, iface, fmt.Sprint(attempt))
	return "svt" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])[:12])
}

// hardwareAddr is the MAC address of an interface: locally administered, the same
// whenever it is asked for. Attempt counts those that another interface of the
// network has.
func hardwareAddr(vm, iface string, attempt int) netplan.HardwareAddr {
	sum := hash("mac", vm, iface, fmt.Sprint(attempt))
	return netplan.HardwareAddr{2, sum[0], sum[1], sum[2], sum[3], sum[4]}
}

// hash separates its words by a byte that none of them has.
func hash(words ...string) [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.Join(words, "\x00")))
}

// attempts is how many names are tried: each further one only if there is one
// interface more of the same VM and name.
const attempts = 1000

// chooseTAP returns a name that neither a link nor a lease has. The caller holds the
// lock of the records.
func (p place) chooseTAP(host *netlinux.Host, owner netplan.Owner, r Request) (string, error) {
	for attempt := range attempts {
		name := tapName(owner, p.bridge, r.VM, r.Iface, attempt)
		if _, err := os.Lstat(p.tapEntry(name)); err == nil {
			continue
		}
		_, err := host.Link(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", failed(errcode.TapCreateFailed, "name tap", r.VM+" "+r.Iface, errors.New("all its names are taken"))
}

// chooseMAC takes the one that the VM's config has, else one that no interface of
// the network has. The caller holds the lock of the records.
func (p place) chooseMAC(k *known, r Request) (netplan.HardwareAddr, error) {
	if r.MAC == "" {
		for attempt := range attempts {
			mac := hardwareAddr(r.VM, r.Iface, attempt)
			if _, err := os.Lstat(p.macEntry(mac)); err != nil {
				return mac, nil //nolint:nilerr // it is free, as far as anybody knows
			}
		}
	}
	chosen, err := netplan.ParseHardwareAddr(r.MAC)
	if err != nil {
		return chosen, failed(errcode.InvalidConfig, "choose MAC address", r.Iface, err)
	}
	other, err := p.named(p.macEntry(chosen), &k.Config)
	if err != nil || other == nil {
		return chosen, err
	}
	return chosen, failed(errcode.InvalidConfig, "choose MAC address", r.Iface,
		fmt.Errorf("%v is that of %s of vm %s, on the same bridge", chosen, other.Iface, other.VM))
}
