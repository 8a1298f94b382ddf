package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
)

func (a *app) firecrackerPathCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "path [VERSION]",
		Short: "Print the path of the Firecracker that a VM would run on",
		Long: `Print the path of the Firecracker that a VM would run on: --firecracker, else the
one in PATH, else the newest below the data directory, or the one of VERSION.
Nothing is downloaded; where there is none the exit code is 1.`,
		Example: `  smartvm firecracker path
  smartvm firecracker path v1.12.1 || smartvm firecracker pull v1.12.1`,
		Args:              releaseArgs(0, 1),
		ValidArgsFunction: a.completeVersions(1),
		RunE: a.withVersions(func(ctx context.Context, _ *smartvm.Manager, given []firecracker.Version) error {
			var v firecracker.Version
			if len(given) > 0 {
				v = given[0]
			}
			found, err := a.findFirecracker(ctx, v)
			if err != nil {
				return err
			}
			return a.print(found.Path + "\n")
		}),
	}
}
