package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) pauseCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "pause NAME...",
		Short:             "Stop the vCPUs of VMs",
		Long:              "Stop the vCPUs of VMs, and their devices with them. The memory stays in use.",
		Example:           "  smartvm pause web\n  smartvm pause web db",
		Args:              someNames,
		ValidArgsFunction: a.completeNames(0),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, names []string) error {
			return each(ctx, m, names, func(ctx context.Context, vm *smartvm.VM) error { return vm.Pause(ctx) })
		}),
	}
}
