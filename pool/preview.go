package pool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/smartvm/smartvm/netconfig"
)

// Preview returns what [SetUp] would do, in words. The host is only looked at, by
// whoever may read the state of its pools: root.
func Preview(ctx context.Context, opts Options, r Request) ([]string, error) {
	opts = opts.withDefaults()
	if err := r.validate(); err != nil {
		return nil, err
	}
	r.Subnet = r.Subnet.Masked()
	var lines []string
	there, err := opts.read(r.User)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r = r.over(Request{TAPs: DefaultTAPs})
	case err != nil:
		return nil, err
	default:
		r = r.over(Request{TAPs: len(there.TAPs), Subnet: there.Subnet, Egress: there.Egress})
		if there.here() && r.Subnet == there.Subnet && r.TAPs == len(there.TAPs) {
			return []string{fmt.Sprintf("keep network %s with %v and %d TAPs, repair what is missing, and set what guests may reach", there.Bridge, there.Subnet, r.TAPs)}, nil
		}
		lines = append(lines, fmt.Sprintf("remove network %s with %v and %d TAPs", there.Bridge, there.Subnet, len(there.TAPs)))
	}
	for _, path := range opts.Devices {
		a, _, err := lacks(path, r.User)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if a != nil {
			lines = append(lines, fmt.Sprintf("let user %s read and write %s", r.User.Name, path))
		}
	}
	if !r.Subnet.IsValid() {
		if r.Subnet, err = opts.chooseSubnet(ctx, r.User); err != nil {
			return nil, err
		}
	} else if there == nil {
		if err := opts.tryNetwork(ctx, netconfig.Config{Bridge: r.User.bridge(), Subnet: r.Subnet}); err != nil {
			return nil, err
		}
	}
	return append(lines,
		fmt.Sprintf("make network %s with %v", r.User.bridge(), r.Subnet),
		fmt.Sprintf("make %d TAPs that user %s may open", r.TAPs, r.User.Name),
		"describe them in "+opts.note(r.User)), nil
}
