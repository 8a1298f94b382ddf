package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) restoreCommand() *cobra.Command {
	var (
		o      smartvm.RestoreOptions
		detach bool
		noJail bool
	)
	cmd := &cobra.Command{
		Use:   "restore SNAPSHOT [flags]",
		Short: "Let a VM go on where a snapshot was taken",
		Long: `Make a VM of a snapshot: its guest goes on where it was, with its own copy of the
drives that it can write. The snapshot stays as it is, and can be restored any
number of times, at the same time too.

As with run, the guest's serial output goes to standard output, and the VM is gone
with the command; --detach leaves it running and prints its name.

The host has to have the same kind of processor, and the VM is given the same
release of Firecracker. What does not fit is said before anything is made.`,
		Example: `  smartvm restore warm
  smartvm restore warm --name web --detach
  smartvm restore warm --detach --paused --json
  smartvm restore warm --lazy
  smartvm restore warm --clock-realtime
  smartvm restore warm --track-dirty-pages --detach`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := oneSnapshot(cmd, args); err != nil {
				return err
			}
			switch {
			case cmd.Flags().Changed("json") && !detach:
				return errors.New("--json needs --detach: in the foreground only the guest's output is printed")
			case o.Paused && !detach:
				return errors.New("--paused needs --detach: in the foreground a guest that stands still says nothing")
			case o.ID != "":
				return validName(o.ID)
			}
			return nil
		},
		ValidArgsFunction: a.completeSnapshots(1),
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVarP(&detach, "detach", "d", false, "leave the VM running and print its name")
	flags.StringVar(&o.ID, "name", "", "the VM's `NAME`: letters, digits, - (default: generated)")
	flags.BoolVar(&o.Paused, "paused", false, "leave the guest standing where it was, for resume")
	flags.BoolVar(&o.Lazy, "lazy", false, "read the memory when it is touched, by a process that serves it")
	flags.BoolVar(&o.TrackDirtyPages, "track-dirty-pages", false, "let snapshot create --diff follow")
	flags.BoolVar(&o.ClockRealtime, "clock-realtime", false, "move the guest's kvm-clock on by the time since the snapshot")
	flags.StringVar(&o.Vsock, "vsock", "", "`PATH` of the vsock's socket (default: in the VM's directory)")
	flags.BoolVar(&noJail, "no-jail", false, "run Firecracker as root and without its jailer; for tests")
	flags.BoolVar(&a.asJSON, "json", false, "with --detach: print an object instead of the name")
	a.offlineFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions) // it fails only for an unknown flag
	cmd.RunE = a.withOptions(func(opts *smartvm.Options) error { a.jailOption(opts, noJail); return nil },
		func(ctx context.Context, m *smartvm.Manager, args []string) error {
			vm, err := m.Restore(ctx, args[0], o)
			if err != nil {
				return err
			}
			return a.attend(ctx, m, vm, detach)
		})
	return cmd
}

// attend stays with a VM that runs until it ends, or leaves it to a keeper.
func (a *app) attend(ctx context.Context, m *smartvm.Manager, vm *smartvm.VM, detach bool) error {
	if detach {
		return a.detach(ctx, m, vm)
	}
	err := a.foreground(ctx, vm)
	return errors.Join(err, vm.Cleanup(context.WithoutCancel(ctx)))
}
