package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) snapshotInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect SNAPSHOT...",
		Short: "Show all that is known about snapshots, as JSON",
		Long: `Show all that is known about snapshots, as one JSON object for each: the host and the
release of Firecracker that it was taken on, the VM's configuration, its memory,
drives and interfaces, hashes as far as there are any, the bytes on the disk, and
the VMs that map its memory.`,
		Example: `  smartvm snapshot inspect warm
  smartvm snapshot inspect warm | jq .host`,
		Args:              someSnapshots,
		ValidArgsFunction: a.completeSnapshots(0),
		RunE: a.with(func(_ context.Context, m *smartvm.Manager, names []string) error {
			var errs []error
			for _, name := range names {
				about, err := m.Snapshots().Get(name)
				if err == nil {
					var kept keptSnapshot
					if kept, err = describeSnapshot(m.Snapshots(), about); err == nil {
						err = a.printJSON(kept)
					}
				}
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		}),
	}
}
