package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) snapshotRmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rm SNAPSHOT...",
		Short: "Remove snapshots",
		Long: `Remove snapshots. One whose memory a VM maps stays, and so does one that a diff
follows whose memory was never merged; the error says who that is.`,
		Example: `  smartvm snapshot rm warm
  smartvm snapshot rm $(smartvm snapshot ls -q)`,
		Args:              someSnapshots,
		ValidArgsFunction: a.completeSnapshots(0),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, names []string) error {
			slices.Sort(names)
			var errs []error
			for _, name := range slices.Compact(names) {
				errs = append(errs, m.Snapshots().Remove(ctx, name))
			}
			return errors.Join(errs...)
		}),
	}
}
