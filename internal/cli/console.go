package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
)

// consoleFlags are the flags of console.
type consoleFlags struct {
	detachKey controlKey
	pipe      bool
	tail      bool
}

func (a *app) consoleCommand() *cobra.Command {
	f := &consoleFlags{detachKey: ']' & controlMask}
	cmd := &cobra.Command{
		Use:   "console NAME",
		Short: "Use the serial console of a VM",
		Long: `Use the serial console of a VM from this terminal. Every key goes to the guest,
Ctrl+C included, but for the detach key, which ends the command and leaves the
VM as it is. The command also ends with the VM.

With --pipe the command needs no terminal: standard input goes to the guest as
it is, and the guest's output is shown until the VM ends or Ctrl+C.`,
		Example: `  smartvm console web
  smartvm console web --tail --detach-key ctrl-a
  echo reboot | smartvm console web --pipe`,
		Args:              oneName(1, 1),
		ValidArgsFunction: a.completeNames(1),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, args []string) error {
			vm, err := m.Attach(ctx, args[0])
			if err != nil {
				return err
			}
			return a.console(ctx, vm, f)
		}),
	}
	cmd.Flags().Var(&f.detachKey, "detach-key", "the key that ends the command, ctrl-a to ctrl-z, ctrl-], ctrl-\\, ctrl-^ or ctrl-_")
	cmd.Flags().BoolVar(&f.pipe, "pipe", false, "no terminal: copy standard input as it is")
	cmd.Flags().BoolVar(&f.tail, "tail", false, "begin with the output of the past")
	return cmd
}

func (a *app) console(ctx context.Context, vm *smartvm.VM, f *consoleFlags) error {
	if !alive(vm.State()) {
		return &smartvm.Error{
			Code: smartvm.InvalidState, Op: "use console", Subject: vm.ID(), Err: fmt.Errorf("the VM is %s", vm.State()),
			Hint: "smartvm logs " + vm.ID() + " shows its output",
		}
	}
	terminal, ok := a.stdin.(*os.File)
	ok = ok && isTerminal(terminal)
	if !ok && !f.pipe {
		return usageError{&smartvm.Error{
			Code: smartvm.InvalidConfig, Op: "use console", Subject: vm.ID(), Err: errors.New("standard input is not a terminal"),
			Hint: "use --pipe to send it to the guest as it is, or smartvm logs -f to watch",
		}}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	output, err := vm.OpenConsole(ctx, smartvm.ConsoleOptions{Follow: true, SkipPast: !f.tail})
	if err != nil {
		return err
	}
	defer output.Close()
	if f.pipe {
		a.forwardInput(ctx, vm)
		return a.copyConsole(ctx, output)
	}
	restore, err := makeRaw(terminal)
	if err != nil {
		return err
	}
	// Deferred, so that a panic does not leave the terminal raw either.
	defer restore()
	a.say("connected to %s; %s leaves\r", vm.ID(), &f.detachKey)
	go func() {
		// It can be left waiting in a read of the terminal, until the process ends.
		cancel(forwardKeys(ctx, vm, terminal, byte(f.detachKey)))
	}()
	return a.copyConsole(ctx, output)
}

// copyConsole shows output until the VM ends or ctx does.
func (a *app) copyConsole(ctx context.Context, output io.Reader) error {
	_, err := io.Copy(a.stdout, output)
	if cause := context.Cause(ctx); cause != nil {
		// Leaving by a signal is leaving, the only way without a terminal.
		if errors.Is(cause, errDetached) || errors.Is(cause, context.Canceled) || errors.Is(cause, errcode.ProcessExited) {
			return nil
		}
		return cause
	}
	return err
}

func makeRaw(terminal *os.File) (restore func(), err error) {
	fd := int(terminal.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("set up the terminal: %w", err)
	}
	return func() { _ = term.Restore(fd, before) }, nil // the terminal may be gone: nobody to tell
}

// errDetached says that the user has pressed the detach key.
var errDetached = errors.New("detached")

// forwardKeys sends what is typed to the guest, up to the detach key.
func forwardKeys(ctx context.Context, vm *smartvm.VM, keys io.Reader, detach byte) error {
	buf := make([]byte, 1024)
	for {
		n, err := keys.Read(buf)
		typed, _, leave := bytes.Cut(buf[:n], []byte{detach})
		if len(typed) > 0 {
			if err := vm.WriteConsole(ctx, typed); err != nil {
				return err
			}
		}
		switch {
		case leave, errors.Is(err, io.EOF):
			return errDetached
		case err != nil:
			return fmt.Errorf("read the terminal: %w", err)
		}
	}
}

// controlKey is the flag --detach-key: the byte that a key sends with Ctrl.
type controlKey byte

// controlMask has the bits of a letter that Ctrl leaves.
const controlMask = 0x1f

// String implements pflag.Value.
func (k *controlKey) String() string {
	return "ctrl-" + strings.ToLower(string(rune(*k|0x40)))
}

// Type implements pflag.Value.
func (*controlKey) Type() string { return "KEY" }

// Set implements pflag.Value.
func (k *controlKey) Set(text string) error {
	key, ok := strings.CutPrefix(strings.ToLower(text), "ctrl-")
	if !ok || len(key) != 1 || strings.Trim(key, `abcdefghijklmnopqrstuvwxyz]\^_`) != "" {
		return errors.New(`write ctrl- and a letter, or one of ] \ ^ _`)
	}
	*k = controlKey(key[0] & controlMask)
	return nil
}
