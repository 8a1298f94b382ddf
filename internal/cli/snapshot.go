package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/snapshot"
)

func (a *app) snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot create|ls|inspect|clone|export|import|verify|merge|rm",
		Short: "Keep VMs that stand still, and make VMs of them",
		Long: `Keep snapshots: whole VMs of one moment, with their memory and disks, which restore
and snapshot clone make VMs of.

A snapshot has all that its guest had in its memory, keys and passwords too.`,
		Example: `  smartvm snapshot create web --name warm
  smartvm snapshot ls
  smartvm restore warm
  smartvm snapshot clone warm -n 100
  smartvm snapshot export warm -o warm.snapshot`,
		Args: a.noArgs,
		RunE: a.help,
	}
	cmd.AddCommand(a.snapshotCreateCommand(), a.snapshotLsCommand(), a.snapshotInspectCommand(), a.snapshotCloneCommand(),
		a.snapshotExportCommand(), a.snapshotImportCommand(), a.snapshotVerifyCommand(), a.snapshotMergeCommand(), a.snapshotRmCommand())
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

// oneSnapshot is for commands that take the name of one.
func oneSnapshot(cmd *cobra.Command, names []string) error {
	if len(names) > 1 {
		return tooMany(cmd, names[1])
	}
	return someSnapshots(cmd, names)
}

// someSnapshots is for commands that take names of snapshots.
func someSnapshots(cmd *cobra.Command, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("the name of a snapshot is missing: %s", cmd.UseLine())
	}
	return nil
}

// keptSnapshot is a snapshot as it is shown: what it is, and what keeping it means.
type keptSnapshot struct {
	*snapshot.Manifest

	DiskBytes int64    `json:"diskBytes"` // that its files occupy
	Users     []string `json:"users"`     // VMs that map its memory
}

func describeSnapshot(store *snapshot.Store, m *snapshot.Manifest) (keptSnapshot, error) {
	kept := keptSnapshot{Manifest: m, Users: []string{}}
	holders, err := store.Users(m.Name)
	if err != nil {
		return kept, err
	}
	for _, dir := range holders {
		kept.Users = append(kept.Users, filepath.Base(dir))
	}
	kept.DiskBytes, err = store.Occupied(m.Name)
	return kept, err
}
