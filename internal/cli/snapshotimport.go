package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) snapshotImportCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "import [FILE] [flags]",
		Short: "Make a snapshot of an exported one",
		Long: `Read what snapshot export has written, from a file or standard input, and print the
snapshot's name. It is there when all of it has been read and every hash is right,
and not before.

A warning names each drive that is missing here: the snapshot can be restored when
it has been put there, and snapshot verify has seen it.

Import what you would run: hashes tell that a stream is whole, not who made it, and
Firecracker believes what is in it.`,
		Example: `  smartvm snapshot import warm.snapshot
  smartvm snapshot import warm.snapshot --name warm2 --json
  ssh other smartvm snapshot export warm | smartvm snapshot import`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return tooMany(cmd, args[1])
			case (len(args) == 0 || args[0] == "-") && isTerminal(a.stdin):
				return errors.New("standard input is a terminal: name a file, or a pipe")
			}
			return nil
		},
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, args []string) error {
			in := a.stdin
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			return a.importFrom(ctx, m, in, name)
		}),
	}
	cmd.Flags().StringVar(&name, "name", "", "the snapshot's `NAME` (default: the one that it had)")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print an object instead of the name")
	_ = cmd.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions) // it fails only for an unknown flag
	return cmd
}

func (a *app) importFrom(ctx context.Context, m *smartvm.Manager, in io.Reader, name string) error {
	end := func(error) {}
	if f, ok := in.(*os.File); ok && a.bars != nil {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			r := &shownReader{r: f, task: a.bars.Begin(info.Name(), info.Size()), total: info.Size()}
			in, end = r, r.task.End
		}
	}
	about, err := m.Snapshots().Import(ctx, in, name)
	end(err)
	switch {
	case err != nil:
		return err
	case a.asJSON:
		return a.printJSON(about)
	default:
		return a.print(about.Name + "\n")
	}
}

// shownReader shows how much has been read.
type shownReader struct {
	r           io.Reader
	task        smartvm.ProgressTask
	done, total int64
}

// Read implements io.Reader.
func (r *shownReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.done += int64(n)
	r.task.Set(r.done, r.total)
	return n, err
}
