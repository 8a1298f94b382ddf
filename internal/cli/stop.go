package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) stopCommand() *cobra.Command {
	seconds := wholeNumber(smartvm.DefaultStopGrace / time.Second)
	var force bool
	cmd := &cobra.Command{
		Use:   "stop NAME...",
		Short: "Stop VMs, the gentle way first",
		Long: `Stop VMs: press Ctrl+Alt+Del, wait for the guest to shut down, then end
Firecracker. What a detached VM leaves stays, for logs and inspect, until rm or
gc; a VM in the foreground of another smartvm run is cleaned up by that.`,
		Example: `  smartvm stop web
  smartvm stop web db --time 30
  smartvm stop web --force`,
		Args:              exclusive(someNames, "time", "force"),
		ValidArgsFunction: a.completeNames(0),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, names []string) error {
			if seconds < 1 {
				return usageError{errors.New("--time is at least 1 second; --force does not wait")}
			}
			opts := smartvm.StopOptions{Grace: time.Duration(seconds) * time.Second}
			if force {
				opts = killAtOnce()
			}
			return each(ctx, m, names, func(ctx context.Context, vm *smartvm.VM) error { return vm.Stop(ctx, opts) })
		}),
	}
	cmd.Flags().VarP(&seconds, "time", "t", "how many `SECONDS` the guest may take")
	cmd.Flags().BoolVar(&force, "force", false, "kill Firecracker at once")
	return cmd
}

func killAtOnce() smartvm.StopOptions { return smartvm.StopOptions{Grace: -1, TermGrace: -1} }
