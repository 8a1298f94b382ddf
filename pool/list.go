package pool

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/netconfig"
)

// List returns the pools of this host, sorted by the number of their users. It needs
// no rights. A pool that is being made, or whose making was cut short, is not in it.
func List(opts Options) ([]Pool, error) {
	opts = opts.withDefaults()
	entries, err := os.ReadDir(opts.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(errcode.DirectoryFailed, "list", opts.Dir, err)
	}
	var pools []Pool
	var errs []error
	for _, e := range entries {
		name, isNote := strings.CutSuffix(e.Name(), noteSuffix)
		uid, err := strconv.Atoi(name)
		if !isNote || err != nil || strings.HasPrefix(name, ".") {
			continue
		}
		p, err := opts.read(User{UID: uid, Name: name})
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		pools = append(pools, *p)
	}
	slices.SortFunc(pools, func(a, b Pool) int { return a.User.UID - b.User.UID })
	return pools, errors.Join(errs...)
}

// Check compares the pool's network with what it is planned to be: a firewall that was
// loaded anew cuts guests off without a word, or lets them out. It needs root.
func (p *Pool) Check(ctx context.Context, opts Options) (faults []hostnet.Fault, err error) {
	opts = opts.withDefaults()
	n, err := hostnet.New(hostnet.Options{Dir: opts.state(), Config: netconfig.Config{Bridge: p.Bridge}, Logger: opts.Logger})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Close()) }() //nolint:contextcheck // a Close has none, and bounds its waits itself
	faults, err = n.Check(ctx)
	for i := range faults {
		faults[i].Fix = p.User.Command()
	}
	return faults, err
}

// Status is what a pool's TAPs are at the moment, as the kernel says.
type Status struct {
	Used    int `json:"used"`    // a process has them open
	Missing int `json:"missing"` // somebody has removed them, or they are another user's now
}

// Status looks at the TAPs. It needs no rights.
func (p *Pool) Status() (Status, error) {
	var s Status
	err := onHost(func(host *netlinux.Host) error {
		for _, t := range p.TAPs {
			l, err := host.Link(t.Name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				s.Missing++
			case err != nil:
				return err
			case l.Owner != p.User.UID:
				s.Missing++
			case l.Carrier:
				s.Used++
			}
		}
		return nil
	})
	return s, err
}
