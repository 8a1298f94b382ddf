package vmconfig

import (
	"errors"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

// Network is what smartvm does for the interfaces of a VM that have no
// host_dev_name, and so get a TAP on the manager's network.
type Network struct {
	// Egress is what the VM may reach. The network's own policy holds as well: both
	// must allow a connection. Nil allows what the network does.
	Egress *netconfig.Policy `json:"egress,omitempty" strict:"filled"`
	// Forwards lead ports of the host to the first of these interfaces.
	Forwards []netconfig.Forward `json:"forwards,omitempty" strict:"filled"`
	// IPArgument adds ip= to the kernel's command line, unless it has one, so that
	// the kernel configures the first of these interfaces. Default: the guest
	// configures itself.
	IPArgument bool `json:"ip_argument,omitempty"`
}

// MadeInterfaces returns the indices of the interfaces that get a TAP made by
// smartvm.
func (c *Config) MadeInterfaces() []int {
	var made []int
	for i := range c.NetworkInterfaces {
		if c.NetworkInterfaces[i].HostDevName == "" {
			made = append(made, i)
		}
	}
	return made
}

func (f *faults) network(c *Config) {
	n := c.Network
	if n == nil {
		return
	}
	if len(c.MadeInterfaces()) == 0 {
		f.Add("network", "needs an interface in network-interfaces that has no host_dev_name")
	}
	if n.Egress != nil {
		f.nested("network.egress", n.Egress.Validate())
	}
	f.nested("network.forwards", netconfig.ValidateForwards(n.Forwards))
}

// nested adds the mistakes of a value that validates itself.
func (f *faults) nested(field string, err error) {
	e, ok := errors.AsType[*errcode.Error](err)
	switch {
	case err == nil:
	case ok && len(e.Details) > 0:
		for _, d := range e.Details {
			f.Add(join(field, d.Field), "%s", d.Message)
		}
	default:
		f.Add(field, "%v", err)
	}
}

// join returns the path of a field inside another one.
func join(field, inner string) string {
	if inner == "" || inner[0] == '[' {
		return field + inner
	}
	return field + "." + inner
}
