package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/snapshot"
)

func (a *app) snapshotExportCommand() *cobra.Command {
	var (
		o    snapshot.ExportOptions
		path string
	)
	cmd := &cobra.Command{
		Use:   "export SNAPSHOT [flags]",
		Short: "Write a snapshot as one stream, for another host",
		Long: `Write a snapshot to standard output or a file, as one compressed stream, which snapshot
import reads. A diff is merged. All of it has a hash, and what has changed on the
disk is not exported.

Drives that the guest only reads stay out of it, and have to be on the other host at
the same path; --drives puts them in. The stream has the memory of the guest, with
its keys and passwords, and is not encrypted.`,
		Example: `  smartvm snapshot export warm -o warm.snapshot
  smartvm snapshot export warm --drives | ssh other smartvm snapshot import
  smartvm snapshot export warm | age -r KEY >warm.snapshot.age`,
		Args: func(cmd *cobra.Command, args []string) error {
			err := oneSnapshot(cmd, args)
			if err == nil && (path == "" || path == "-") && a.terminal {
				err = errors.New("standard output is a terminal: name a file with -o, or a pipe")
			}
			return err
		},
		ValidArgsFunction: a.completeSnapshots(1),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, args []string) error {
			if path == "" || path == "-" {
				return a.export(ctx, m, args[0], a.stdout, o)
			}
			return a.exportFile(ctx, m, args[0], path, o)
		}),
	}
	cmd.Flags().StringVarP(&path, "output", "o", "", "the `FILE` to make; it must not exist (default: standard output)")
	cmd.Flags().BoolVar(&o.Drives, "drives", false, "with the drives that the guest only reads")
	return cmd
}

// exportFile makes the file, for its owner only, or nothing.
func (a *app) exportFile(ctx context.Context, m *smartvm.Manager, name, path string, o snapshot.ExportOptions) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = a.export(ctx, m, name, out, o)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func (a *app) export(ctx context.Context, m *smartvm.Manager, name string, out io.Writer, o snapshot.ExportOptions) error {
	if a.bars == nil {
		return m.Snapshots().Export(ctx, name, out, o)
	}
	var task smartvm.ProgressTask
	o.Progress = func(done, total int64) {
		if task == nil {
			task = a.bars.Begin(name, total)
		}
		task.Set(done, total)
	}
	err := m.Snapshots().Export(ctx, name, out, o)
	if task != nil {
		task.End(err)
	}
	return err
}
