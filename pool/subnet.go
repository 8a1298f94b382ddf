package pool

import (
	"context"
	"errors"
	"net/netip"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/netconfig"
)

// subnets are those of which a pool gets the first that is free.
const subnets = "172.31.0.0/16"

// chooseSubnet returns the first subnet that the host has no way to.
func (o *Options) chooseSubnet(ctx context.Context, u User) (netip.Prefix, error) {
	bytes := netip.MustParsePrefix(subnets).Addr().As4()
	for {
		subnet := netip.PrefixFrom(netip.AddrFrom4(bytes), 24)
		err := o.tryNetwork(ctx, netconfig.Config{Bridge: u.bridge(), Subnet: subnet})
		if err == nil || !errors.Is(err, errcode.InvalidSubnet) {
			return subnet, err
		}
		if bytes[2]++; bytes[2] == 0 {
			return netip.Prefix{}, &errcode.Error{
				Code: errcode.InvalidSubnet, Op: "choose subnet", Subject: subnets, Err: errors.New("none of its 256 subnets is free on this host"),
				Hint: "give the pool another one: --subnet",
			}
		}
	}
}

// tryNetwork plans a network, which finds out what is in its way.
func (o *Options) tryNetwork(ctx context.Context, c netconfig.Config) error {
	n, err := hostnet.New(hostnet.Options{Dir: o.state(), Config: c, Logger: o.Logger})
	if err != nil {
		return err
	}
	_, err = n.Plan(ctx)
	return errors.Join(err, n.Close()) //nolint:contextcheck // a Close has none, and bounds its waits itself
}
