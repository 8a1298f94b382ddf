package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot create|ls|inspect|rm|clone",
		Short: "Keep VMs that stand still, and make VMs of them",
		Long: `Keep snapshots: whole VMs of one moment, with their memory and disks, which restore
and snapshot clone make VMs of.`,
		Example: `  smartvm snapshot create web --name warm
  smartvm snapshot ls
  smartvm restore warm
  smartvm snapshot clone warm -n 100`,
		Args: a.noArgs,
		RunE: a.help,
	}
	cmd.AddCommand(a.snapshotCreateCommand(), a.snapshotLsCommand(), a.snapshotInspectCommand(), a.snapshotRmCommand(), a.snapshotCloneCommand())
	return cmd
}

// completeSnapshots completes names of snapshots; for most see complete.
func (a *app) completeSnapshots(most int) cobra.CompletionFunc {
	return a.complete(most, cobra.ShellCompDirectiveNoFileComp, nil, func(_ context.Context, m *smartvm.Manager) (found []cobra.Completion, err error) {
		all, err := m.Snapshots().List()
		for _, s := range all {
			found = append(found, s.Name)
		}
		return found, err
	})
}
