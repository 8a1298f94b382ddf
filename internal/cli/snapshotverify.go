package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
)

func (a *app) snapshotVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [SNAPSHOT...]",
		Short: "Read snapshots from the disk and compare them with their hashes",
		Long: `Read snapshots, by default all, from the disk and compare them with their hashes. A
line says how each is. The exit code is 1 when one is damaged.

A snapshot is taken without hashes of its memory and disks, so that it is there soon.
The first verify makes them, of files that nobody has changed since. From then on a snapshot survives that its files are copied to
another disk: verify proves that they are the same.`,
		Example: `  smartvm snapshot verify
  smartvm snapshot verify warm --json`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeSnapshots(0),
		RunE:              a.with(a.verifySnapshots),
	}
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	return cmd
}

func (a *app) verifySnapshots(ctx context.Context, m *smartvm.Manager, names []string) error {
	if len(names) == 0 {
		all, err := m.Snapshots().List()
		if err != nil {
			return err
		}
		for _, s := range all {
			names = append(names, s.Name)
		}
	}
	return a.verify(ctx, names, verification{
		op: "verify snapshots", damaged: errcode.InvalidSnapshot,
		hint: func(name string) string {
			return "put shared drives back, or import it again: smartvm snapshot rm " + name
		},
		verify: func(ctx context.Context, name string) error {
			_, err := m.Snapshots().Verify(ctx, name)
			return err
		},
		object: func(name string, damaged []errcode.Detail) any {
			return struct {
				Name    string           `json:"name"`
				Damaged []errcode.Detail `json:"damaged,omitempty"`
			}{name, damaged}
		},
	})
}
