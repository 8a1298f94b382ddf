package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/vmconfig"
)

// noArgs is for commands that take none.
func (a *app) noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasAvailableSubCommands():
		return unknownCommand(cmd, args[0])
	default:
		return fmt.Errorf("%q is one argument too many: %s takes none", args[0], cmd.CommandPath())
	}
}

// oneName is for commands that take the name of a VM and up to more arguments.
func oneName(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("an argument is missing: %s", cmd.UseLine())
		case len(args) > most:
			return tooMany(cmd, args[most])
		default:
			return validName(args[0])
		}
	}
}

func tooMany(cmd *cobra.Command, arg string) error {
	return fmt.Errorf("%q is one argument too many: %s", arg, cmd.UseLine())
}

// someNames is for commands that take names of VMs.
func someNames(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("the name of a VM is missing: %s", cmd.UseLine())
	}
	for _, name := range args {
		if err := validName(name); err != nil {
			return err
		}
	}
	return nil
}

// exclusive adds to the check of the arguments that two flags exclude each other.
func exclusive(args cobra.PositionalArgs, one, other string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if cmd.Flags().Changed(one) && cmd.Flags().Changed(other) {
			return fmt.Errorf("--%s and --%s exclude each other", one, other)
		}
		return args(cmd, given)
	}
}

func validName(name string) error {
	_, err := vmconfig.ParseID(name)
	return err
}

func unknownCommand(parent *cobra.Command, name string) error {
	parent.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("unknown command %q of %s", name, parent.CommandPath())
	return usageError{errors.New(text + didYouMean(parent.SuggestionsFor(name)))}
}

func subcommands(cmd *cobra.Command) string {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return strings.Join(names, ", ")
}

// flagError adds a suggestion to what pflag says about an unknown flag.
func flagError(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	// Cobra compares names of commands only, so the flags pose as such.
	flags := &cobra.Command{SuggestionsMinimumDistance: 2}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		flags.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	similar := flags.SuggestionsFor(unknown.GetSpecifiedName())
	for i := range similar {
		similar[i] = "--" + similar[i]
	}
	return errors.New(err.Error() + didYouMean(similar))
}

func didYouMean(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(names, " or ") + "?"
}

// complete completes what a manager knows, after the given words. Most limits how
// many there may be on the command line, 0 does not.
func (a *app) complete(
	most int, rest cobra.ShellCompDirective, words []cobra.Completion,
	known func(context.Context, *smartvm.Manager) ([]cobra.Completion, error),
) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		m, err := a.manager(unchanged)
		if err != nil {
			return words, cobra.ShellCompDirectiveError
		}
		defer m.Close() //nolint:errcheck // nothing was written
		found, err := known(cmd.Context(), m)
		if err != nil {
			return words, cobra.ShellCompDirectiveError
		}
		return append(slices.Clone(words), found...), rest
	}
}

// completeNames completes the names of VMs; for most see complete.
func (a *app) completeNames(most int) cobra.CompletionFunc {
	return a.complete(most, cobra.ShellCompDirectiveNoFileComp, nil, func(ctx context.Context, m *smartvm.Manager) (names []cobra.Completion, err error) {
		entries, err := m.Inventory(ctx)
		for _, e := range entries {
			names = append(names, cobra.CompletionWithDesc(e.ID, string(e.State)))
		}
		return names, err
	})
}

// each does something with every named VM, with all at the same time, and goes
// on past errors. A name that is given twice counts once.
func each(ctx context.Context, m *smartvm.Manager, names []string, do func(context.Context, *smartvm.VM) error) error {
	slices.Sort(names)
	names = slices.Compact(names)
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			v, err := m.Attach(ctx, name)
			if err == nil {
				err = do(ctx, v)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// maxArgument bounds what is read in the place of an argument; Firecracker takes
// some 50 KiB.
const maxArgument = 1 << 20

// readArgument returns the text of an argument: itself, of @FILE the file's
// content, of - what standard input has.
func (a *app) readArgument(arg string) ([]byte, error) {
	path, isFile := strings.CutPrefix(arg, "@")
	switch {
	case arg == "-":
		return readBounded(a.stdin, "standard input")
	case !isFile:
		return []byte(arg), nil
	}
	return readFile(path)
}

// readFileOrStdin reads a file that a flag names; - is standard input.
func (a *app) readFileOrStdin(path string) ([]byte, error) {
	if path == "-" {
		return readBounded(a.stdin, "standard input")
	}
	return readFile(path)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // it is for the user to say what is read
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, path)
}

func readBounded(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxArgument+1))
	if err == nil && len(data) > maxArgument {
		err = fmt.Errorf("%s has more than %d bytes", name, maxArgument)
	}
	return data, err
}

// parseObject reads a JSON object and keeps its numbers as they are.
func parseObject(data []byte) (map[string]any, error) {
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber()
	var object map[string]any
	err := decoder.Decode(&object)
	if other, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil, fmt.Errorf("it must be a JSON object, not %s", other.Value)
	}
	if err != nil {
		return nil, fmt.Errorf("it must be a JSON object: %w", err)
	}
	if object == nil || decoder.More() {
		return nil, errors.New("it must be one JSON object")
	}
	return object, nil
}
