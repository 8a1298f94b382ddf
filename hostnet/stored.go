package hostnet

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/netconfig"
)

// stored is what a network's directory says about it.
type stored struct {
	// Instance tells the network from earlier ones of that name.
	Instance string `json:"instance"`
	// Boot and Namespace say where it is in the kernel: since which start of the host,
	// and in which network namespace.
	Boot      string `json:"boot"`
	Namespace uint64 `json:"namespace"`

	// Config is the network with its defaults, without secrets, and without its policy,
	// which has a file of its own.
	Config netconfig.Config `json:"config"`
	// TunnelKey is the public key of the tunnel that the network has made.
	TunnelKey string `json:"tunnel_key,omitempty"`
	// MTU and DNS are what guests are told.
	MTU int          `json:"mtu"`
	DNS []netip.Addr `json:"dns,omitempty"`
	// TurnedForwardingOn is set when IP forwarding was off before this network, or one
	// whose duty to put it back this network has taken over.
	TurnedForwardingOn bool `json:"turned_forwarding_on,omitempty"`
	// Complete is set when all of the network was made, until it is taken down.
	Complete bool `json:"complete,omitempty"`
}

// read returns what is stored but for the policy, nil when the network is not there.
func (p place) read() (*stored, error) {
	s := new(stored)
	err := readJSON(p.config(), s)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}
	if err != nil {
		return nil, failed(errcode.LedgerFailed, "read network", p.config(), err)
	}
	if err := s.check(p.bridge); err != nil {
		return nil, damaged(p.config(), err)
	}
	return s, nil
}

// readAll is read with the policy.
func (p place) readAll() (*stored, error) {
	there, err := p.read()
	if err != nil || there == nil {
		return nil, err
	}
	policy := new(netconfig.Policy)
	err = readJSON(p.egress(), policy)
	if errors.Is(err, fs.ErrNotExist) {
		return there, nil
	}
	if err != nil {
		return nil, failed(errcode.LedgerFailed, "read policy", p.egress(), err)
	}
	if err := policy.Validate(); err != nil {
		return nil, damaged(p.egress(), err)
	}
	there.Config.Egress = policy
	return there, nil
}

// write stores a network. Whoever reads its config finds its policy.
func (p place) write(s stored) error {
	if err := p.writeEgress(s.Config.Egress); err != nil {
		return err
	}
	s.Config.Egress = nil
	return writeJSON(p.config(), s)
}

func (p place) writeEgress(policy *netconfig.Policy) error {
	if policy == nil {
		return remove(p.egress())
	}
	return writeJSON(p.egress(), policy)
}

// check refuses what could never have been written here.
func (s *stored) check(bridge string) error {
	c := s.Config.Clone()
	if w := c.WireGuard; w != nil && w.Tunnel != nil {
		w.Tunnel.PrivateKey = netconfig.Key{1} // which is not stored, and has to be there
	}
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Bridge != bridge || !c.Subnet.IsValid() {
		return fmt.Errorf("it is about %q, subnet %v", c.Bridge, c.Subnet)
	}
	return nil
}

// existing returns all that is stored about the network; NETWORK_NOT_FOUND when it is
// not there.
func (p place) existing() (*stored, error) {
	there, err := p.readAll()
	if err == nil && (there == nil || !there.Complete) {
		err = &errcode.Error{
			Code: errcode.NetworkNotFound, Op: "find network", Subject: p.bridge, Err: errors.New("there is no such network"),
			Hint: "smartvm net ls lists them; it is made by the first VM that joins it",
		}
	}
	return there, err
}

// here reports whether what is stored can be in the kernel: a start of the host has
// removed all of it.
func (s *stored) here() bool { return s.Boot == proc.BootID() }

// elsewhere is the error about a network of another network namespace, which can't
// be seen from this one; nil when it is in this one.
func (s *stored) elsewhere() error {
	if !s.here() {
		return nil
	}
	own, err := namespace()
	if err != nil || own == s.Namespace {
		return err
	}
	return &errcode.Error{
		Code: errcode.BridgeSetupFailed, Op: "find network", Subject: s.Config.Bridge,
		Err:  errors.New("VMs use it in another network namespace"),
		Hint: "start the VM there, or with another runtime directory (SMARTVM_RUNTIME_DIR)",
	}
}

// unchanged reports whether a file is the one that was looked at before. Each change
// makes a new one.
func unchanged(before, now os.FileInfo) bool {
	return before != nil && os.SameFile(before, now) && before.ModTime().Equal(now.ModTime()) && before.Size() == now.Size()
}
