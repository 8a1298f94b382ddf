package hostnet

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/proc"
)

// networkKinds are the resources that the ledger of a network can have.
func networkKinds() ledger.Kinds {
	return ledger.Kinds{
		"flows":        func() ledger.Resource { return &flows{} },
		"sysctl":       func() ledger.Resource { return &sysctl{} },
		"link":         func() ledger.Resource { return &link{} },
		"route":        func() ledger.Resource { return &route{} },
		"routing-rule": func() ledger.Resource { return &routingRule{} },
		"tables":       func() ledger.Resource { return &tables{} },
		"accept":       func() ledger.Resource { return &accept{} },
	}
}

// link is a bridge or a tunnel's interface.
type link struct {
	through

	Name string `json:"name"`
	Mark string `json:"mark"`
	What string `json:"what"` // bridge, wireguard
}

// Kind implements ledger.Resource.
func (l *link) Kind() string { return "link" }

// String implements ledger.Resource.
func (l *link) String() string { return l.What + " " + l.Name }

// Release implements ledger.Resource. What has another mark is left alone.
func (l *link) Release(ctx context.Context) error {
	return l.onHost(func(h *netlinux.Host) error { return h.DeleteLink(ctx, l.Name, 0, l.Mark) })
}

// route is a route in the tunnel's table.
type route struct {
	through
	netplan.Route
}

// Kind implements ledger.Resource.
func (r *route) Kind() string { return "route" }

// String implements ledger.Resource.
func (r *route) String() string { return "route " + r.Route.String() }

// Release implements ledger.Resource.
func (r *route) Release(context.Context) error {
	return r.onHost(func(h *netlinux.Host) error { return h.DeleteRoute(r.Route) })
}

// routingRule is a rule of the routing policy.
type routingRule struct {
	through
	netplan.RoutingRule
}

// Kind implements ledger.Resource.
func (r *routingRule) Kind() string { return "routing-rule" }

// String implements ledger.Resource.
func (r *routingRule) String() string { return "routing rule " + r.RoutingRule.String() }

// Release implements ledger.Resource.
func (r *routingRule) Release(context.Context) error {
	return r.onHost(func(h *netlinux.Host) error { return h.DeleteRule(r.RoutingRule) })
}

// tables are the network's nftables tables.
type tables struct {
	through

	Name string `json:"name"`
	Mark string `json:"mark"`
}

// Kind implements ledger.Resource.
func (t *tables) Kind() string { return "tables" }

// String implements ledger.Resource.
func (t *tables) String() string { return "nftables tables " + t.Name }

// Release implements ledger.Resource. Tables with another mark are left alone.
func (t *tables) Release(context.Context) error {
	return t.onHost(func(h *netlinux.Host) error { return h.RemoveTables(t.Name, t.Mark) })
}

// accept are our rules in a chain of others.
type accept struct {
	through
	netplan.Barrier

	Mark string `json:"mark"`
}

// Kind implements ledger.Resource.
func (a *accept) Kind() string { return "accept" }

// String implements ledger.Resource.
func (a *accept) String() string {
	return "accept rules in " + strings.Join([]string{"chain", string(a.Family), a.Table, a.Chain}, " ")
}

// Release implements ledger.Resource.
func (a *accept) Release(context.Context) error {
	return a.onHost(func(h *netlinux.Host) error { return h.RemoveAccept(a.Barrier, a.Mark) })
}

// flows are what the kernel remembers of the guests' connections, which the next
// network with these addresses is not to inherit.
type flows struct {
	through

	Subnet netip.Prefix `json:"subnet"`
}

// Kind implements ledger.Resource.
func (f *flows) Kind() string { return "flows" }

// String implements ledger.Resource.
func (f *flows) String() string { return "tracked connections of " + f.Subnet.String() }

// Release implements ledger.Resource.
func (f *flows) Release(context.Context) error {
	return f.onHost(func(h *netlinux.Host) error { return h.ForgetFlows(f.Subnet) })
}

// sysctl is a setting of the host that was changed.
type sysctl struct {
	through

	Path string `json:"path"`
	Old  string `json:"old"`
	New  string `json:"new"`
	Boot string `json:"boot"`           // the host's next start forgets the change
	Mark string `json:"mark,omitempty"` // of the network, where networks share a setting
}

func newSysctl(path, before, now string) *sysctl {
	return &sysctl{Path: path, Old: before, New: now, Boot: proc.BootID()}
}

// Kind implements ledger.Resource.
func (s *sysctl) Kind() string { return "sysctl" }

// String implements ledger.Resource.
func (s *sysctl) String() string { return "setting " + s.Path + "=" + s.New + ", before " + s.Old }

// Release implements ledger.Resource. It puts the old value back, unless somebody
// has set yet another one, or others need the new one.
func (s *sysctl) Release(context.Context) error {
	if s.Boot != proc.BootID() {
		return nil
	}
	return s.onHost(func(h *netlinux.Host) error {
		if needed, err := s.needed(h); err != nil || needed {
			return err
		}
		current, err := h.Sysctl(s.Path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && current != s.New {
			return nil
		}
		if err != nil {
			return err
		}
		return h.SetSysctl(s.Path, s.Old)
	})
}

// needed reports whether others need the setting as it is.
func (s *sysctl) needed(h *netlinux.Host) (bool, error) {
	switch s.Path {
	case forwardingPath:
		return forwardingDuty(h, s.Mark)
	case redirectsPath:
		return hasWireGuard(h)
	}
	return false, nil
}

// forwardingPath is the setting that all networks of the host share.
const forwardingPath = "net/ipv4/ip_forward"

// forwardingDuty reports whether another network than the one with this mark has to
// switch forwarding off in the end.
func forwardingDuty(h *netlinux.Host, mark string) (bool, error) {
	all, err := h.Tables()
	for _, t := range all {
		if strings.HasSuffix(t.Comment, netplan.ForwardingWasOff) && strings.TrimSuffix(t.Comment, netplan.ForwardingWasOff) != mark {
			return true, err
		}
	}
	return false, err
}
