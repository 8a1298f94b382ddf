package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/vmconfig"
)

func (a *app) inspectCommand() *cobra.Command {
	var security bool
	cmd := &cobra.Command{
		Use:   "inspect NAME",
		Short: "Show all that is known about a VM, as JSON",
		Long: `Show all that is known about a VM, as JSON: its state, how it ended, its files,
what was made for it on this host, its staged drives and its configuration,
which is a VM file of its own.

With --security show how its Firecracker is confined instead, as the kernel tells
and not as it was meant: user, capabilities, seccomp filters, root directory,
namespaces, cgroups, limits and open files, each with a verdict. It is a table,
or JSON with --json. What only root may look at is unknown to others.`,
		Example: `  smartvm inspect web
  smartvm inspect web | jq .config > vm.json
  smartvm inspect web --security
  smartvm inspect web --security --json | jq '.verdicts[] | select(.status != "ok")'`,
		Args:              oneName(1, 1),
		ValidArgsFunction: a.completeNames(1),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, args []string) error {
			if security {
				return a.inspectSecurity(ctx, m, args)
			}
			return a.inspect(ctx, m, args)
		}),
	}
	cmd.Flags().BoolVar(&security, "security", false, "show how its Firecracker is confined")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print JSON, with --security too")
	return cmd
}

// inspection is what inspect prints.
type inspection struct {
	smartvm.Entry

	Dir    string                `json:"dir"`
	Socket string                `json:"socket"`
	Drives []smartvm.StagedDrive `json:"drives"`
	Config vmconfig.Config       `json:"config"`
}

func (a *app) inspect(ctx context.Context, m *smartvm.Manager, args []string) error {
	entry, err := m.Inspect(ctx, args[0])
	if err != nil {
		return err
	}
	vm, err := m.Attach(ctx, args[0])
	if err != nil {
		return err
	}
	return a.printJSON(inspection{
		Entry: entry, Dir: vm.Dir(), Socket: vm.SocketPath(),
		Drives: append([]smartvm.StagedDrive{}, vm.Drives()...), Config: *vm.Config(),
	})
}
