package hostnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

// join returns what the network is, with the keys that this value knows. There is nil
// when it is not there yet. What was asked for counts at the first look only: the
// policy may have been replaced since.
func (n *Network) join(there *stored) (*netconfig.Config, error) {
	n.mu.Lock()
	given, k := *n.config.Clone(), n.known
	n.mu.Unlock()
	if there != nil && k != nil && k.Instance == there.Instance {
		return there.withKeys(given.WithDefaults().WireGuard), nil
	}
	config, err := merge(given, there)
	if e, ok := errors.AsType[*errcode.Error](err); ok {
		if users := n.place.describeUsers(); users != "" {
			e.Details = append(e.Details, errcode.Detail{Field: "used by", Message: users})
		}
	}
	return config, err
}

// describeUsers says who uses the network, for people.
func (p place) describeUsers() string {
	const enough = 5
	leases, err := p.readLeases()
	if err != nil {
		return "" // it is only a part of another error
	}
	var words []string
	for i := range leases {
		if i == enough {
			words = append(words, "...")
			break
		}
		words = append(words, "vm "+leases[i].VM)
	}
	if users, err := namesIn(p.users()); err == nil && len(users) > 0 {
		words = append(words, fmt.Sprintf("%d processes that hold it", len(users)))
	}
	return strings.Join(words, ", ")
}

// merge returns what a network is for a user of it who asked for given: the stored
// config if it is there already, and it must not contradict what was asked for. A
// policy, a tunnel or an opening that was not asked for is nobody's contradiction:
// whoever joins a network takes it as it is.
func merge(given netconfig.Config, there *stored) (*netconfig.Config, error) {
	wanted := given.WithDefaults()
	if there == nil {
		return wanted, nil
	}
	stored := &there.Config
	conflict := func(code errcode.Code, what string, has, asked any) error {
		return &errcode.Error{
			Code: code, Op: "join network", Subject: stored.Bridge,
			Err:  fmt.Errorf("its %s is %v, and %v was asked for", what, has, asked),
			Hint: "choose another bridge and subnet, or end the VMs that use this one: smartvm net show " + stored.Bridge,
		}
	}
	switch {
	case given.Subnet != netip.Prefix{} && wanted.Subnet != stored.Subnet:
		return nil, conflict(errcode.InvalidSubnet, "subnet", stored.Subnet, wanted.Subnet)
	case given.MTU != 0 && given.MTU != there.MTU:
		return nil, conflict(errcode.BridgeSetupFailed, "MTU", there.MTU, given.MTU)
	case given.DNS != nil && !slices.Equal(given.DNS, there.DNS):
		return nil, conflict(errcode.BridgeSetupFailed, "list of resolvers", there.DNS, given.DNS)
	case given.Egress != nil && !same(wanted.Egress, stored.Egress):
		return nil, conflict(errcode.InvalidFirewallConfig, "egress policy", "another", "this")
	case given.WireGuard != nil && !there.sameTunnel(wanted.WireGuard):
		return nil, conflict(errcode.InvalidWireGuardConfig, "way out", wayOut(stored.WireGuard, there.TunnelKey), wayOut(wanted.WireGuard, tunnelKey(wanted.WireGuard)))
	case opens(given, *stored):
		return nil, conflict(errcode.BridgeSetupFailed, "isolation", "stricter", "less")
	}
	return there.withKeys(wanted.WireGuard), nil
}

// withKeys returns the stored config, with the keys of the same tunnel, which are not
// stored.
func (s *stored) withKeys(w *netconfig.WireGuard) *netconfig.Config {
	out := s.Config.Clone()
	if w == nil || w.Tunnel == nil || !s.sameTunnel(w) {
		return out
	}
	out.WireGuard.Tunnel.PrivateKey = w.Tunnel.PrivateKey
	for i := range w.Tunnel.Peers {
		out.WireGuard.Tunnel.Peers[i].PresharedKey = w.Tunnel.Peers[i].PresharedKey
	}
	return out
}

// opens reports whether asked wants more open than the network is.
func opens(asked, has netconfig.Config) bool {
	for _, p := range asked.AllowHost {
		if !allowsPort(has.AllowHost, p) {
			return true
		}
	}
	return asked.AllowPeers && !has.AllowPeers || asked.AllowLinkLocal && !has.AllowLinkLocal
}

func allowsPort(ports []netconfig.HostPort, want netconfig.HostPort) bool {
	for _, p := range ports {
		if p.Port == want.Port && tcpOr(p.Protocol) == tcpOr(want.Protocol) {
			return true
		}
	}
	return false
}

func tcpOr(p netconfig.Protocol) netconfig.Protocol {
	if p == "" {
		return netconfig.TCP
	}
	return p
}

// sameTunnel compares what is not secret, and the public key of the tunnel itself.
func (s *stored) sameTunnel(w *netconfig.WireGuard) bool {
	return same(s.Config.WireGuard, w) && s.TunnelKey == tunnelKey(w)
}

// same compares what is stored of two values.
func same[T any](a, b T) bool {
	first, err := json.Marshal(a)
	second, err2 := json.Marshal(b)
	return errors.Join(err, err2) == nil && bytes.Equal(first, second)
}

// tunnelKey is the public key of a tunnel that is made; "" when there is none.
func tunnelKey(w *netconfig.WireGuard) string {
	if w == nil || w.Tunnel == nil || w.Tunnel.PrivateKey.IsZero() {
		return ""
	}
	return w.Tunnel.PrivateKey.Public().PublicText()
}

func wayOut(w *netconfig.WireGuard, key string) string {
	switch {
	case w == nil:
		return "the host's default route"
	case w.Existing != "":
		return "the WireGuard interface " + w.Existing
	default:
		return "the tunnel " + w.Name() + " with the public key " + key
	}
}
