package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) gcCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what killed processes and ended VMs have left",
		Long: `Remove what killed processes and ended VMs have left in the runtime and the data
directory, and say exactly what and why. A VM that runs, or that a live process
owns, is never touched.`,
		Example: `  smartvm gc --dry-run
  smartvm gc
  smartvm gc --json`,
		Args: a.noArgs,
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, _ []string) error {
			garbage, err := m.GC(ctx, smartvm.GCOptions{DryRun: dryRun})
			return errors.Join(a.printGarbage(garbage, dryRun), err)
		}),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only list what would be removed")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	return cmd
}

func (a *app) printGarbage(garbage []smartvm.Garbage, dryRun bool) error {
	if a.asJSON {
		return a.printJSON(append([]smartvm.Garbage{}, garbage...))
	}
	verb := "removed "
	if dryRun {
		verb = "would remove "
	}
	var b strings.Builder
	for _, g := range garbage {
		what := g.ID
		if what == "" {
			what = "leftovers"
		}
		b.WriteString(verb + what + ": " + g.Reason + "\n")
		for _, r := range g.Resources {
			b.WriteString("  " + r + "\n")
		}
	}
	return a.print(b.String())
}
