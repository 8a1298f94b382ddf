package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
)

func (a *app) imageVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [ID...]",
		Short: "Read images from the disk and compare them with their hashes",
		Long: `Read images, by default all, from the disk and compare them with the hashes that
they came with. A line says how each is. The exit code is 1 when one is damaged.
Nothing is repaired: image pull ID does that.`,
		Example: `  smartvm image verify
  smartvm image verify web-v3 --json`,
		Args:              anyIDs,
		ValidArgsFunction: a.completeImages(0, cobra.ShellCompDirectiveNoFileComp),
		RunE:              a.with(a.verifyImages),
	}
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	return cmd
}

func (a *app) verifyImages(ctx context.Context, m *smartvm.Manager, ids []string) error {
	if len(ids) == 0 {
		images, err := m.BaseImages().List(ctx)
		if err != nil {
			return err
		}
		for i := range images {
			ids = append(ids, images[i].ID)
		}
	}
	return a.verify(ctx, ids, verification{
		op: "verify images", damaged: errcode.BaseImageDamaged, verify: m.BaseImages().Verify,
		hint: func(id string) string { return "smartvm image pull " + id + " fetches what is damaged again" },
		object: func(id string, damaged []errcode.Detail) any {
			return struct {
				ID      string           `json:"id"`
				Damaged []errcode.Detail `json:"damaged,omitempty"`
			}{id, damaged}
		},
	})
}
