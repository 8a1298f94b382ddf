package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) snapshotMergeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "merge SNAPSHOT...",
		Short: "Put the whole memory of diffs together",
		Long: `Put the whole memory of diffs together, each with the snapshots that it follows. They
stay as they are, but may be removed from then on. restore, clone and export do it
by themselves when it has not been done. It takes room for the whole memory.

With a full snapshot there is nothing to do.`,
		Example: `  smartvm snapshot create web --name later --diff
  smartvm snapshot merge later
  smartvm snapshot rm warm`,
		Args:              someSnapshots,
		ValidArgsFunction: a.completeSnapshots(0),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, names []string) error {
			var errs []error
			for _, name := range names {
				about, err := m.Snapshots().Get(name)
				if err == nil {
					_, err = m.Snapshots().Memory(ctx, about)
				}
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		}),
	}
}
