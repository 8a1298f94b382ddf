package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
)

func (a *app) firecrackerRmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rm VERSION...",
		Short: "Remove Firecracker releases from the data directory",
		Long: `Remove Firecracker releases and their jailers from the data directory. VMs that run
go on.`,
		Example:           "  smartvm firecracker rm v1.7.0",
		Args:              releaseArgs(1, 0),
		ValidArgsFunction: a.completeVersions(0),
		RunE: a.withVersions(func(ctx context.Context, m *smartvm.Manager, given []firecracker.Version) error {
			var errs []error
			for _, v := range given {
				errs = append(errs, m.Images().Remove(ctx, v))
			}
			return errors.Join(errs...)
		}),
	}
}
