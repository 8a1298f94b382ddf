package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
)

func (a *app) imageInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect ID...",
		Short: "Show all that is known about images, as JSON",
		Long: `Show all that is known about images, as one JSON object for each: the paths,
hashes and sizes of its files, where they come from, the boot arguments.`,
		Example: `  smartvm image inspect web-v3
  smartvm image inspect $(smartvm image ls -q) | jq -r .bootArgs`,
		Args:              someIDs,
		ValidArgsFunction: a.completeImages(0, cobra.ShellCompDirectiveNoFileComp),
		RunE:              a.with(a.inspectImages),
	}
}

func (a *app) inspectImages(ctx context.Context, m *smartvm.Manager, ids []string) error {
	images, err := m.BaseImages().List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range ids {
		i := slices.IndexFunc(images, func(s baseimage.Status) bool { return s.ID == id })
		if i < 0 {
			_, err := m.BaseImages().Bundle(ctx, id) // it knows how to say that
			errs = append(errs, err)
			continue
		}
		if err := a.printJSON(&images[i]); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}
