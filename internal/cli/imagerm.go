package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) imageRmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rm ID...",
		Short: "Remove images from the cache",
		Long: `Remove images from the cache. One that a VM or another program uses stays, and the
error says who that is.`,
		Example: `  smartvm image rm web-v2
  smartvm image rm $(smartvm image ls -q)`,
		Args:              someIDs,
		ValidArgsFunction: a.completeImages(0, cobra.ShellCompDirectiveNoFileComp),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, ids []string) error {
			slices.Sort(ids)
			var errs []error
			for _, id := range slices.Compact(ids) {
				errs = append(errs, m.BaseImages().Remove(ctx, id))
			}
			return errors.Join(errs...)
		}),
	}
}
