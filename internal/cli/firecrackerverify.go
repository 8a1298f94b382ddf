package cli

import (
	"cmp"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
)

func (a *app) firecrackerVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [VERSION...]",
		Short: "Read Firecracker releases from the disk and compare them with their hashes",
		Long: `Read Firecracker releases, by default all, from the disk and compare them with the
hashes that their archives came with. A line says which are in order, the exit
code is 1 when one is not. firecracker pull VERSION repairs it.`,
		Example: `  smartvm firecracker verify
  smartvm firecracker verify v1.12.1`,
		Args:              releaseArgs(0, 0),
		ValidArgsFunction: a.completeVersions(0),
		RunE:              a.withVersions(a.verifyFirecrackers),
	}
}

func (a *app) verifyFirecrackers(ctx context.Context, m *smartvm.Manager, given []firecracker.Version) error {
	if len(given) == 0 {
		releases, err := m.Images().Releases()
		if err != nil {
			return err
		}
		opts, err := a.options()
		if err != nil {
			return err
		}
		for _, r := range releases {
			if r.Arch == cmp.Or(opts.Arch, image.Arch()) { // the store is for one of them
				given = append(given, r.Version)
			}
		}
	}
	var errs []error
	for _, v := range given {
		err := m.Images().Verify(ctx, v)
		if err == nil {
			err = a.print(v.String() + ": ok\n")
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
