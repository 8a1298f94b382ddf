package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) resumeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "resume NAME...",
		Short:             "Let paused VMs go on",
		Example:           "  smartvm resume web\n  smartvm resume web db",
		Args:              someNames,
		ValidArgsFunction: a.completeNames(0),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, names []string) error {
			return each(ctx, m, names, func(ctx context.Context, vm *smartvm.VM) error { return vm.Resume(ctx) })
		}),
	}
}
