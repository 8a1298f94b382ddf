package hostnet

import (
	"context"
	"errors"
	"net/netip"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/netconfig"
)

// Info is a network that is there.
type Info struct {
	Bridge  string       `json:"bridge"`
	Subnet  netip.Prefix `json:"subnet"`
	Gateway netip.Addr   `json:"gateway"`
	// Config is the network as a value, without secrets.
	Config netconfig.Config `json:"config"`
	Guests []GuestInfo      `json:"guests"`
	// Holders is how many processes hold on to the network.
	Holders int `json:"holders"`
}

// GuestInfo is an interface of a VM on a network.
type GuestInfo struct {
	VM       string              `json:"vm"`
	Iface    string              `json:"iface"`
	TAP      string              `json:"tap"`
	MAC      string              `json:"mac"`
	Addr     netip.Addr          `json:"addr"`
	Egress   *netconfig.Policy   `json:"egress,omitempty"`
	Forwards []netconfig.Forward `json:"forwards,omitempty"`
	// Inside is how a clone knows itself; TAP is the port that leads to it then.
	Inside *Inside `json:"inside,omitempty"`
}

// List returns the networks of a runtime directory, sorted by their bridges. It
// needs no rights but to read the directory.
func List(ctx context.Context, dir string) ([]Info, error) {
	names, err := ledger.Names(placeOf(dir, "").networks())
	if err != nil || len(names) == 0 {
		return nil, err
	}
	held, err := placeOf(dir, "").lock(ctx)
	if err != nil {
		return nil, err
	}
	defer held.unlock()
	var list []Info
	for _, name := range names {
		p := placeOf(dir, name)
		there, err := p.existing()
		if errors.Is(err, errcode.NetworkNotFound) {
			continue // half made or half removed
		}
		if err != nil {
			return nil, err
		}
		info, err := p.info(there)
		if err != nil {
			return nil, err
		}
		list = append(list, *info)
	}
	return list, nil
}

// Info returns what the network is. NETWORK_NOT_FOUND means that it is not there.
func (n *Network) Info(ctx context.Context) (*Info, error) {
	if _, err := n.place.existing(); err != nil {
		return nil, err
	}
	held, err := n.place.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer held.unlock()
	there, err := n.place.existing()
	if err != nil { // gone meanwhile
		return nil, err
	}
	return n.place.info(there)
}

func (p place) info(there *stored) (*Info, error) {
	leases, err := p.readLeases()
	if err != nil {
		return nil, err
	}
	users, err := namesIn(p.users())
	if err != nil {
		return nil, err
	}
	info := &Info{
		Bridge: p.bridge, Subnet: there.Config.Subnet, Gateway: there.Config.Gateway(), Config: there.Config,
		Guests: []GuestInfo{}, Holders: len(users),
	}
	for _, l := range leases {
		info.Guests = append(info.Guests, GuestInfo{
			VM: l.VM, Iface: l.Iface, TAP: l.TAP, MAC: l.MAC.String(), Addr: l.Addr, Egress: l.Egress, Forwards: l.Forwards,
			Inside: insideInfo(l.Inside),
		})
	}
	return info, nil
}
