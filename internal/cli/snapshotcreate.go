package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) snapshotCreateCommand() *cobra.Command {
	var (
		o    smartvm.SnapshotOptions
		name string
	)
	cmd := &cobra.Command{
		Use:   "create VM --name SNAPSHOT [flags]",
		Short: "Store a whole VM under a name",
		Long: `Store a whole VM: its state, its memory, and a copy of each drive that its guest can
write, all of one moment. The guest stands still meanwhile, and then goes on.

--diff stores only the memory that has changed since the VM's last snapshot, or
since the one that it was restored from. The VM has to track dirty pages:
track_dirty_pages in the machine-config of its file, or --track-dirty-pages of
restore.`,
		Example: `  smartvm snapshot create web --name warm
  smartvm snapshot create web --name warm --pause
  smartvm snapshot create web --name later --diff
  smartvm snapshot create web --name warm --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := oneName(1, 1)(cmd, args); err != nil {
				return err
			}
			if name == "" {
				return errors.New("the snapshot has no name: --name SNAPSHOT")
			}
			return nil
		},
		ValidArgsFunction: a.completeNames(1),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, args []string) error {
			vm, err := m.Attach(ctx, args[0])
			if err != nil {
				return err
			}
			about, err := vm.Snapshot(ctx, name, o)
			switch {
			case err != nil:
				return err
			case a.asJSON:
				return a.printJSON(about)
			default:
				return a.print(fmt.Sprintln(about.Name))
			}
		}),
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&name, "name", "", "the snapshot's `NAME`")
	flags.BoolVar(&o.Diff, "diff", false, "only what has changed since the last snapshot")
	flags.BoolVar(&o.KeepPaused, "pause", false, "leave the VM paused")
	flags.BoolVar(&a.asJSON, "json", false, "print the manifest")
	_ = cmd.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions) // it fails only for an unknown flag
	return cmd
}
