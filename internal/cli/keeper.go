package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

const keeperVerb = "console-keeper"

// keeperArgs is the command line that keeps the console of a detached VM. The
// process has no environment, so the directories are spelled out.
func (a *app) keeperArgs(self string, m *smartvm.Manager, vm *smartvm.VM) []string {
	return []string{
		self, keeperVerb, "--runtime-dir", m.RuntimeDir(), "--data-dir", m.DataDir(),
		"--log-level", a.level.String(), vm.ID(),
	}
}

func (a *app) keeperCommand() *cobra.Command {
	return &cobra.Command{
		Use:     keeperVerb + " NAME",
		Short:   "Keep the serial output of a detached VM (started by run --detach)",
		Example: "  smartvm " + keeperVerb + " web",
		Hidden:  true,
		Args:    oneName(1, 1),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, args []string) error {
			vm, err := m.Attach(ctx, args[0])
			if err != nil {
				return err
			}
			return vm.KeepConsole(ctx)
		}),
	}
}
