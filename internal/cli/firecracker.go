package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
)

func (a *app) firecrackerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "firecracker pull|ls|path|verify|rm",
		Short: "Fetch and keep Firecracker releases",
		Long: `Fetch and keep Firecracker releases, each with its jailer, below the data
directory. VMs fetch what they need by themselves, unless they are offline.`,
		Example: `  smartvm firecracker pull
  smartvm firecracker ls`,
		Args: a.noArgs,
		RunE: a.help,
	}
	cmd.AddCommand(a.firecrackerPullCommand(), a.firecrackerLsCommand(), a.firecrackerPathCommand(), a.firecrackerVerifyCommand(),
		a.firecrackerRmCommand())
	return cmd
}

// findFirecracker returns the Firecracker that a VM would run on if nothing was
// downloaded, of the version v if that is not zero.
func (a *app) findFirecracker(ctx context.Context, v firecracker.Version) (image.Binary, error) {
	opts, err := a.options()
	if err != nil {
		return image.Binary{}, err
	}
	if v.IsZero() {
		v = opts.FirecrackerVersion
	}
	return image.Find(ctx, a.firecracker, a.dataDirectory(), v)
}

// releaseArgs is for commands that take versions of releases.
func releaseArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("a version is missing: %s", cmd.UseLine())
		case most > 0 && len(args) > most:
			return tooMany(cmd, args[most])
		}
		return nil
	}
}

// withVersions is with for a verb whose arguments are versions of releases.
func (a *app) withVersions(
	verb func(ctx context.Context, m *smartvm.Manager, given []firecracker.Version) error,
) func(*cobra.Command, []string) error {
	return a.with(func(ctx context.Context, m *smartvm.Manager, args []string) error {
		var given []firecracker.Version
		for _, text := range args {
			v, err := parseVersion(text)
			if err != nil {
				return usageError{err}
			}
			given = append(given, v)
		}
		return verb(ctx, m, given)
	})
}

// completeVersions completes versions of stored releases; for most see complete.
func (a *app) completeVersions(most int) cobra.CompletionFunc {
	return a.complete(most, cobra.ShellCompDirectiveNoFileComp, nil, func(_ context.Context, m *smartvm.Manager) (found []cobra.Completion, err error) {
		releases, err := m.Images().Releases()
		for _, r := range releases {
			found = append(found, cobra.CompletionWithDesc(r.Version.String(), r.Arch))
		}
		return found, err
	})
}
