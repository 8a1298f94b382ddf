package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/snapshot"
)

func (a *app) snapshotLsCommand() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the snapshots",
		Long: `List the snapshots. MEMORY is the guest's, DISK what the files of the snapshot occupy,
USERS how many VMs were restored from it and map its memory. PARENT is the snapshot
that a diff follows.`,
		Example: `  smartvm snapshot ls
  smartvm snapshot ls --json
  smartvm snapshot ls -q`,
		Args: exclusive(a.noArgs, "quiet", "json"),
		RunE: a.with(func(_ context.Context, m *smartvm.Manager, _ []string) error {
			all, err := m.Snapshots().List()
			if err != nil {
				return err
			}
			return a.printSnapshots(m.Snapshots(), all, quiet)
		}),
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "names only")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of manifests")
	return cmd
}

func (a *app) printSnapshots(store *snapshot.Store, all []*snapshot.Manifest, quiet bool) error {
	switch {
	case a.asJSON:
		return a.printJSON(append([]*snapshot.Manifest{}, all...))
	case quiet:
		var names strings.Builder
		for _, m := range all {
			names.WriteString(m.Name + "\n")
		}
		return a.print(names.String())
	}
	now := time.Now()
	rows := [][]string{{"NAME", "AGE", "TYPE", "PARENT", "FIRECRACKER", "MEMORY", "DISK", "USERS"}}
	for _, m := range all {
		parent := "-"
		if m.Parent != nil {
			parent = m.Parent.Name
		}
		users, err := store.Users(m.Name)
		if err != nil {
			return err
		}
		occupied, err := store.Occupied(m.Name)
		if err != nil {
			return err
		}
		rows = append(rows, []string{
			m.Name, age(m.CreatedAt, now), string(m.Type), parent, m.FirecrackerVersion.String(), byteSize(m.Memory.Size), byteSize(occupied), strconv.Itoa(len(users)),
		})
	}
	return a.printTable(rows)
}
