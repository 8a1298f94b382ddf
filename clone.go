package smartvm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/smartvm/smartvm/errcode"
)

// CloneOptions say what [Manager.Clone] makes.
type CloneOptions struct {
	// RestoreOptions are those of each clone. ID is the beginning of their ids, which
	// a dash and a number follow; default: the snapshot's name.
	RestoreOptions

	// Concurrency is how many clones start at the same time. Default 16.
	Concurrency int
}

// DefaultCloneConcurrency is more than most hosts have cores, because a start waits for
// the kernel half of the time.
const DefaultCloneConcurrency = 16

// MaxClones bounds one call, so that a mistyped number does not take the host.
const MaxClones = 10_000

// Clone restores n VMs of one snapshot, as [Manager.Restore] does, or none: when one
// fails, or ctx ends, those that were made are cleaned up, and the error tells of the
// first that failed. n is 1 to [MaxClones], INVALID_CONFIG otherwise. Each has disks, a
// vsock, TAPs and addresses of its own; the memory they share until they write to it.
//
// Inside, each is the machine that it was: the guest's addresses, host name, keys and
// what programs have in their memory are the same in all. Linux since 5.18 (arm64: 6.10)
// that is built with CONFIG_VMGENID learns it and seeds its random numbers anew, a moment
// after it goes on; Debian 12's cloud kernel is not. What programs draw from generators of
// their own repeats. About the clock see RestoreOptions.ClockRealtime.
func (m *Manager) Clone(ctx context.Context, name string, n int, o CloneOptions) ([]*VM, error) {
	if n < 1 || n > MaxClones {
		return nil, &Error{
			Code: errcode.InvalidConfig, Op: "clone snapshot", Subject: name,
			Details: []errcode.Detail{{Field: "n", Message: fmt.Sprintf("%d is not in 1..%d", n, MaxClones)}},
		}
	}
	from, err := m.openSnapshot(ctx, name)
	if err != nil {
		return nil, err
	}
	c := &cloning{manager: m, from: from, options: o, vms: make([]*VM, n)}
	if err := c.run(ctx); err != nil {
		return nil, errors.Join(err, c.undo(ctx))
	}
	return c.vms, nil
}

// cloning is one call of Clone.
type cloning struct {
	manager *Manager
	from    *source
	options CloneOptions
	vms     []*VM // each set by one goroutine
}

func (c *cloning) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if c.options.Concurrency < 1 {
		c.options.Concurrency = DefaultCloneConcurrency
	}
	if c.options.ID == "" {
		c.options.ID = c.from.manifest.Name
	}
	numbers := make(chan int, len(c.vms))
	for i := range c.vms {
		numbers <- i
	}
	close(numbers)
	var first sync.Once
	var failure error
	var workers sync.WaitGroup
	for range min(c.options.Concurrency, len(c.vms)) {
		workers.Go(func() {
			for i := range numbers {
				if err := c.one(ctx, i); err != nil {
					first.Do(func() { failure = err })
					cancel(err) // the others need not begin
					return
				}
			}
		})
	}
	workers.Wait()
	return failure
}

func (c *cloning) one(ctx context.Context, i int) error {
	if ctx.Err() != nil {
		return cancelled(ctx, "clone snapshot", c.from.manifest.Name)
	}
	o := c.options.RestoreOptions
	o.ID = fmt.Sprintf("%s-%d", c.options.ID, i+1)
	vm, err := c.manager.restore(ctx, c.from, o)
	c.vms[i] = vm
	return err
}

// undo cleans up what was made.
func (c *cloning) undo(ctx context.Context) error {
	errs := make([]error, len(c.vms))
	var group sync.WaitGroup
	for i, vm := range c.vms {
		if vm == nil {
			continue
		}
		group.Go(func() {
			if errs[i] = vm.Cleanup(context.WithoutCancel(ctx)); errs[i] == nil {
				c.manager.RemoveVM(vm.ID())
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
