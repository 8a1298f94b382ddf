package pool

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/netconfig"
)

// Pool is what a user was given. The value is a copy of what the host's file says.
type Pool struct {
	User   User         `json:"user"`
	Bridge string       `json:"bridge"`
	Subnet netip.Prefix `json:"subnet"`
	// Egress is what all guests of the pool may reach. Nil allows everything but what
	// networks forbid anyway.
	Egress *netconfig.Policy `json:"egress,omitempty"`
	TAPs   []TAP             `json:"taps"`
	// Leases is the directory, the user's own, in which the VMs of all his programs say
	// which TAPs they have.
	Leases string `json:"leases"`
	// Boot is the start of the host that the pool was made since.
	Boot string    `json:"boot"`
	Made time.Time `json:"made"`
}

// TAP is a device of a pool, with what the guest on it has to know.
type TAP struct {
	hostnet.TAP

	// IPArgument configures the guest's eth0 before init runs, if its kernel has IP_PNP.
	IPArgument string `json:"ip_argument"`
}

// here reports whether the pool can be in the kernel.
func (p *Pool) here() bool { return p.Boot == proc.BootID() }

// check refuses what was never written here.
func (p *Pool) check(uid int) error {
	switch {
	case p.User.UID != uid:
		return fmt.Errorf("it is about user %d", p.User.UID)
	case p.Leases == "":
		return errors.New("it names no directory for leases")
	}
	for _, t := range p.TAPs {
		if err := netconfig.CheckInterfaceName(t.Name); err != nil {
			return err
		}
		if _, err := net.ParseMAC(t.MAC); err != nil {
			return err
		}
		if !t.Addr.IsValid() || !t.Gateway.IsValid() {
			return fmt.Errorf("tap %s has no address or no gateway", t.Name)
		}
	}
	return nil
}

// failed gives an error its code; a more precise one from inside is kept.
func failed(code errcode.Code, op, subject string, err error) error {
	if err == nil {
		return nil
	}
	return &errcode.Error{Code: errcode.Of(err, code), Op: op, Subject: subject, Err: err}
}
