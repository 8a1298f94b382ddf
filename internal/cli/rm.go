package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) rmCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove VMs and all that was made for them",
		Long: `Remove VMs and all that was made for them: process, sockets, directory, copies of
drives. A VM that runs is only removed with --force, which kills it. A VM that
another smartvm process owns is cleaned up by that process.`,
		Example: `  smartvm rm web
  smartvm rm -f $(smartvm ps -q)`,
		Args:              someNames,
		ValidArgsFunction: a.completeNames(0),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, names []string) error {
			return each(ctx, m, names, func(ctx context.Context, vm *smartvm.VM) error { return remove(ctx, m, vm, force) })
		}),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill VMs that run")
	return cmd
}

func remove(ctx context.Context, m *smartvm.Manager, vm *smartvm.VM, force bool) error {
	if alive(vm.State()) && !force {
		return &smartvm.Error{
			Code: smartvm.InvalidState, Op: "remove vm", Subject: vm.ID(), Err: fmt.Errorf("the VM is %s", vm.State()),
			Hint: fmt.Sprintf("smartvm stop %s, or smartvm rm -f %[1]s", vm.ID()),
		}
	}
	owned := vm.Cleanup(ctx)
	if !errors.Is(owned, smartvm.VMOwned) {
		return owned
	}
	if err := vm.Stop(ctx, killAtOnce()); err != nil && !errors.Is(err, smartvm.InvalidState) {
		return err
	}
	return awaitRemoval(ctx, m, vm.ID(), owned)
}

func alive(s smartvm.State) bool {
	return s == smartvm.Configuring || s == smartvm.Running || s == smartvm.Paused
}

// How long the owner of a VM that has ended may take to clean it up.
const (
	ownerGrace = 5 * time.Second
	ownerCheck = 20 * time.Millisecond
)

// awaitRemoval waits for the clean-up by the VM's owner; owned is the error when
// that does not come.
func awaitRemoval(ctx context.Context, m *smartvm.Manager, id string, owned error) error {
	deadline := time.NewTimer(ownerGrace)
	defer deadline.Stop()
	check := time.NewTicker(ownerCheck)
	defer check.Stop()
	for {
		if _, err := m.Inspect(ctx, id); errors.Is(err, smartvm.VMNotFound) {
			return nil
		}
		select {
		case <-check.C:
		case <-deadline.C:
			return owned
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
