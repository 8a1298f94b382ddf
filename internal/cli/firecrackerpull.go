package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
)

func (a *app) firecrackerPullCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pull [VERSION]",
		Short: "Get a Firecracker release and its jailer, verified, and print its version",
		Long: `Get a Firecracker release and its jailer, by default the newest, and print its
version. What is there and undamaged is not fetched again.`,
		Example: `  smartvm firecracker pull
  smartvm firecracker pull v1.12.1 --json | jq -r .jailer`,
		Args:              releaseArgs(0, 1),
		ValidArgsFunction: a.completeVersions(1),
		RunE:              a.withVersions(a.pullFirecracker),
	}
	a.offlineFlag(cmd)
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print an object with the paths instead of the version")
	return cmd
}

func (a *app) pullFirecracker(ctx context.Context, m *smartvm.Manager, given []firecracker.Version) error {
	v, err := a.wantedRelease(ctx, m, given)
	if err != nil {
		return err
	}
	r, err := m.Images().DownloadFirecracker(ctx, v)
	switch {
	case err != nil:
		return err
	case a.asJSON:
		return a.printJSON(r)
	default:
		return a.print(r.Version.String() + "\n")
	}
}

// wantedRelease is the one of the arguments, else of the flag or the environment,
// else the newest.
func (a *app) wantedRelease(ctx context.Context, m *smartvm.Manager, given []firecracker.Version) (firecracker.Version, error) {
	if len(given) > 0 {
		return given[0], nil
	}
	opts, err := a.options()
	if err != nil || !opts.FirecrackerVersion.IsZero() {
		return opts.FirecrackerVersion, err
	}
	return m.Images().LatestVersion(ctx)
}
