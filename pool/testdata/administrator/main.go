// Administrator makes and removes pools, to be killed on the way.
//
//	administrator VERB DIR SHARED UID DEVICE...
//
// Verb is life, for all that can happen to a pool, or setup.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/pool"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, verb, dir, shared, uid string, devices []string) error {
	user, err := pool.ParseUser(uid)
	if err != nil {
		return err
	}
	opts := pool.Options{Dir: dir, SharedMemory: shared, Devices: devices}
	_, err = pool.SetUp(ctx, opts, pool.Request{User: user, TAPs: 2})
	if err != nil || verb == "setup" {
		return err
	}
	for _, r := range []pool.Request{
		{User: user, Egress: &netconfig.Policy{Default: netconfig.Deny}},
		{User: user, TAPs: 1, Subnet: netip.MustParsePrefix("10.77.0.0/28")},
	} {
		if _, err := pool.SetUp(ctx, opts, r); err != nil {
			return err
		}
	}
	removed, err := pool.Remove(ctx, opts, user, false)
	if err == nil && len(removed) == 0 {
		err = errors.New("nothing was removed")
	}
	return err
}
