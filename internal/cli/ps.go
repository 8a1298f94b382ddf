package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) psCommand() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:     "ps",
		Aliases: []string{"ls"},
		Short:   "List the VMs",
		Long: `List the VMs in the runtime directory, whichever process started them. Those
that have ended stay in the list until rm or gc.`,
		Example: `  smartvm ps
  smartvm ps --json
  smartvm stop $(smartvm ps -q)`,
		Args: exclusive(a.noArgs, "quiet", "json"),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, _ []string) error { return a.ps(ctx, m, quiet) }),
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "names only")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	return cmd
}

func (a *app) ps(ctx context.Context, m *smartvm.Manager, quiet bool) error {
	entries, err := m.Inventory(ctx)
	if err != nil {
		return err
	}
	switch {
	case a.asJSON:
		return a.printJSON(entries)
	case quiet:
		var names strings.Builder
		for _, e := range entries {
			names.WriteString(e.ID + "\n")
		}
		return a.print(names.String())
	}
	now := time.Now()
	rows := [][]string{{"NAME", "STATE", "AGE", "VCPUS", "MEMORY", "PID", "FIRECRACKER", "OWNER"}}
	for _, e := range entries {
		if e.Problem != "" {
			rows = append(rows, []string{e.ID, "unknown"})
			a.say("warning: %s: %s", e.ID, e.Problem)
			continue
		}
		rows = append(rows, []string{
			e.ID, string(e.State), age(e.Created, now), strconv.Itoa(e.VCPUs), fmt.Sprintf("%d MiB", e.MemMiB),
			number(e.PID), e.Firecracker, e.Owner,
		})
	}
	return a.printTable(rows)
}

// number prints 0 as "-".
func number(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}
