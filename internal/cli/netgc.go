package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) netGCCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what killed processes have left of networks",
		Long: `Remove what killed processes have left of networks: interfaces, addresses and rules
of VMs that are gone, and networks that nobody uses. It is the part of smartvm gc
that is about networks. What does not carry this runtime directory's mark is never
touched.`,
		Example: `  smartvm net gc --dry-run
  smartvm net gc`,
		Args: a.noArgs,
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, _ []string) error {
			garbage, err := m.NetworkGC(ctx, smartvm.GCOptions{DryRun: dryRun})
			return errors.Join(a.printGarbage(garbage, dryRun), err)
		}),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only list what would be removed")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	return cmd
}
