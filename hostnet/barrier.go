package hostnet

import (
	"context"
	"errors"

	"github.com/smartvm/smartvm/internal/netlinux"
)

// Barrier is a chain of somebody else's firewall that drops forwarded traffic that it
// does not know.
type Barrier struct {
	Family string `json:"family"`
	Table  string `json:"table"`
	Chain  string `json:"chain"`
	Why    string `json:"why"` // what drops there
}

// String returns where the chain is, and why it drops.
func (b Barrier) String() string {
	return "chain " + b.Family + " " + b.Table + " " + b.Chain + " (" + b.Why + ")"
}

// Barriers returns the chains that would cut guests off, if networks had no accept
// rules in them, and whether
// the old iptables has rules, which can't be looked into.
func Barriers(ctx context.Context) (barriers []Barrier, legacy bool, err error) {
	host, err := netlinux.Open()
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	facts, err := host.Facts(ctx, "", "")
	for _, b := range facts.Barriers {
		barriers = append(barriers, Barrier{string(b.Family), b.Table, b.Chain, b.Why})
	}
	return barriers, facts.LegacyTables, err
}
