package cli

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	tail := wholeNumber(allLines)
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Show the serial output of a VM",
		Long: `Show what the guest wrote to its serial port, byte for byte, and nothing else. The
newest megabyte is kept. Firecracker's own log is in inspect, under ended, and
in the VM's directory.`,
		Example: `  smartvm logs web
  smartvm logs web --tail 20
  smartvm logs web -f | grep login:`,
		Args:              oneName(1, 1),
		ValidArgsFunction: a.completeNames(1),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, args []string) error {
			if tail < -1 {
				return usageError{errors.New("--tail is a number of lines")}
			}
			vm, err := m.Attach(ctx, args[0])
			if err != nil {
				return err
			}
			return a.showConsole(ctx, vm, follow, int(tail))
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the VM ends")
	cmd.Flags().Var(&tail, "tail", "start with the last `LINES` lines; -1 is all")
	return cmd
}

// allLines is the number of lines of a tail that is everything.
const allLines = -1

// showConsole prints the last lines of the past and, if asked for, what comes.
// An interrupted follow is a follow that was long enough.
func (a *app) showConsole(ctx context.Context, vm *smartvm.VM, follow bool, tail int) error {
	past, err := vm.OpenConsole(ctx, smartvm.ConsoleOptions{})
	if err != nil {
		return err
	}
	defer past.Close()
	if !follow {
		text, err := io.ReadAll(past) // bounded: it is a log of limited size
		return errors.Join(err, a.print(string(lastLines(text, tail))))
	}
	console, err := vm.OpenConsole(ctx, smartvm.ConsoleOptions{Follow: true})
	if err != nil {
		return err
	}
	defer console.Close()
	if tail != allLines {
		length, err := io.Copy(io.Discard, past)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(console, length))
		if err := errors.Join(err, a.print(string(lastLines(text, tail)))); err != nil {
			return err
		}
	}
	_, err = io.Copy(a.stdout, console)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// lastLines returns the last n lines. A line that has not ended yet is one.
func lastLines(text []byte, n int) []byte {
	if n == allLines {
		return text
	}
	start := len(text)
	for range n {
		if start == 0 {
			break
		}
		start = bytes.LastIndexByte(text[:start-1], '\n') + 1
	}
	return text[start:]
}
