// Package cli is the command smartvm: one file for each verb.
//
// A verb writes to standard output only what was asked for: the table, the JSON
// or the guest's serial output. All else goes to standard error, as plain text.
// The exit code is 0 for success, 1 for a failure, and 2 when the command line
// itself is wrong.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

// Main runs the command with args, which lack the program's name, and returns
// the exit code. Until it returns it takes care of SIGINT, SIGTERM, SIGHUP and
// SIGPIPE of this process.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, forced, release := interrupts(ctx)
	defer release()
	a := &app{
		stdin: stdin, stdout: &output{stdout}, stderr: stderr, forced: forced,
		terminal: isTerminal(stdout),
	}
	if drawsBars(stderr) {
		a.bars = &bars{out: stderr}
		a.stderr = a.bars
		defer a.bars.close()
	}
	root := a.rootCommand()                   //nolint:contextcheck // the commands get theirs when they run
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	root.SetIn(stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return a.exit(cmd, err)
}

// app is one run of the command.
type app struct {
	stdin    io.Reader
	stdout   io.Writer
	stderr   io.Writer
	bars     *bars           // nil when there is no terminal for them
	terminal bool            // stdout is one
	forced   <-chan struct{} // closed when the user has lost patience
	began    bool            // the command line was understood
	asJSON   bool

	// The global flags.
	dataDir, runtimeDir, firecracker string
	wanted                           releaseVersion // --firecracker-version
	level                            logLevel

	offline bool // of the verbs that may download
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "smartvm",
		Short: "Boot and control Firecracker microVMs, and leave a clean host",
		Long: `smartvm boots and controls Firecracker microVMs, and leaves a clean host.

There is no daemon: each command finds the VMs in the runtime directory. The
exit code is 0 for success, 1 for a failure, 2 for a wrong command line.

What is missing is downloaded: Firecracker by the first VM that needs it, images
by run --image and image pull. smartvm help environment has the variables that
say from where, and whether at all.`,
		Example: `  smartvm doctor                 # is this host ready?
  smartvm run hello              # boot the built-in guest
  smartvm run --image latest     # boot a Linux guest
  smartvm run -f vm.yaml --detach
  smartvm ps`,
		Args:          a.noArgs,
		RunE:          a.help,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(a.helpCommand(root))
	a.globalFlags(root)
	root.AddGroup(&cobra.Group{ID: groupVM, Title: "Virtual machines:"}, &cobra.Group{ID: groupFiles, Title: "What VMs are made of:"},
		&cobra.Group{ID: groupHost, Title: "This host:"})
	for _, verb := range []*cobra.Command{
		a.runCommand(), a.restoreCommand(), a.psCommand(), a.inspectCommand(), a.logsCommand(), a.consoleCommand(), a.pauseCommand(),
		a.resumeCommand(), a.stopCommand(), a.waitCommand(), a.rmCommand(), a.metadataCommand(), a.apiCommand(),
	} {
		verb.GroupID = groupVM
		root.AddCommand(verb)
	}
	for _, verb := range []*cobra.Command{a.imageCommand(), a.snapshotCommand(), a.firecrackerCommand(), a.netCommand()} {
		verb.GroupID = groupFiles
		root.AddCommand(verb)
	}
	for _, verb := range []*cobra.Command{
		a.doctorCommand(), a.setupCommand(), a.gcCommand(), a.versionCommand(), a.completionCommand(), a.environmentCommand(), a.manCommand(),
	} {
		verb.GroupID = groupHost
		root.AddCommand(verb)
	}
	root.AddCommand(a.keeperCommand(), a.pageServerCommand())
	root.SetFlagErrorFunc(flagError)
	return root
}

const (
	groupVM    = "vm"
	groupFiles = "files"
	groupHost  = "host"
)

func (a *app) globalFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVar(&a.dataDir, "data-dir", os.Getenv(envDataDir), "what outlives VMs ("+envDataDir+"; default "+smartvm.DefaultDataDir+")")
	flags.StringVar(&a.runtimeDir, "runtime-dir", os.Getenv(envRuntimeDir),
		"a directory per VM ("+envRuntimeDir+"; default "+smartvm.DefaultRuntimeDir+")")
	flags.StringVar(&a.firecracker, "firecracker", os.Getenv(envFirecracker),
		"the binary to use ("+envFirecracker+"; default: in PATH, else below the data directory)")
	flags.Var(&a.wanted, "firecracker-version", "the release to use ("+envVersion+"; default: what is found, else the newest)")
	flags.Var(&a.level, "log-level", "what to log to standard error: debug, info, warn or error")
	for _, name := range []string{"data-dir", "runtime-dir", "firecracker"} {
		flags.Lookup(name).DefValue = "" // the help must not depend on the environment
	}
	_ = root.RegisterFlagCompletionFunc("firecracker-version", a.completeVersions(0)) // it fails only for an unknown flag
}

// offlineFlag is for verbs that may download.
func (a *app) offlineFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.offline, "offline", false, "no network: only what is on this machine ("+envOffline+"=1)")
}

// help is what a command does that only has commands below it.
func (a *app) help(cmd *cobra.Command, _ []string) error {
	if cmd.HasParent() {
		return usageError{errors.New("a command is missing: " + subcommands(cmd))}
	}
	return cmd.Help()
}

func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show the help of a command",
		Example: "  smartvm help run",
		GroupID: groupHost,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(root, args[0])
			}
			return cmd.Help()
		},
	}
}

// do is the RunE of a verb. What fails before it is the command line's fault.
func (a *app) do(verb func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.began = true
		return verb(cmd.Context(), args)
	}
}

// with is do for a verb that needs a manager.
func (a *app) with(verb func(ctx context.Context, m *smartvm.Manager, args []string) error) func(*cobra.Command, []string) error {
	return a.withOptions(unchanged, verb)
}

// withOptions is with for a verb that knows some of the manager's options better.
func (a *app) withOptions(
	change func(*smartvm.Options) error, verb func(ctx context.Context, m *smartvm.Manager, args []string) error,
) func(*cobra.Command, []string) error {
	return a.do(func(ctx context.Context, args []string) error {
		m, err := a.manager(change)
		if err != nil {
			return err
		}
		return errors.Join(verb(ctx, m, args), m.Close()) //nolint:contextcheck // a Close has none, and bounds its waits itself
	})
}

// unchanged leaves the manager's options as the environment and the global flags
// have them.
func unchanged(*smartvm.Options) error { return nil }

func (a *app) manager(change func(*smartvm.Options) error) (*smartvm.Manager, error) {
	opts, err := a.options()
	if err != nil {
		return nil, err
	}
	if err := change(&opts); err != nil {
		return nil, err
	}
	return smartvm.New(opts)
}

// say tells the user something that is not the command's output.
func (a *app) say(format string, args ...any) {
	// There is nowhere to tell that standard error is closed.
	_, _ = fmt.Fprintf(a.stderr, format+"\n", args...)
}
