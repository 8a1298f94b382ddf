package cli

import (
	"context"
	"errors"
	"io/fs"
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
			if quiet {
				var names strings.Builder
				for _, m := range all {
					names.WriteString(m.Name + "\n")
				}
				return a.print(names.String())
			}
			return a.printSnapshots(m.Snapshots(), all)
		}),
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "names only")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	return cmd
}

func (a *app) printSnapshots(store *snapshot.Store, all []*snapshot.Manifest) error {
	list := []keptSnapshot{}
	for _, m := range all {
		kept, err := describeSnapshot(store, m)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return err
		}
		list = append(list, kept)
	}
	if a.asJSON {
		return a.printJSON(list)
	}
	now := time.Now()
	rows := [][]string{{"NAME", "AGE", "TYPE", "PARENT", "FIRECRACKER", "MEMORY", "DISK", "USERS"}}
	for _, m := range list {
		parent := "-"
		if m.Parent != nil {
			parent = m.Parent.Name
		}
		rows = append(rows, []string{
			m.Name, age(m.CreatedAt, now), string(m.Type), parent, m.FirecrackerVersion.String(), byteSize(m.Memory.Size), byteSize(m.DiskBytes), strconv.Itoa(len(m.Users)),
		})
	}
	return a.printTable(rows)
}
