package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) imagePruneCommand() *cobra.Command {
	var keep wholeNumber
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Evict the images that are beyond the limit of the cache",
		Long: `Evict the least recently used images until no more than the limit are left, and
print their ids. Those in use stay. What killed downloads have left goes too.`,
		Example: `  smartvm image prune
  smartvm image prune --keep 1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("keep") && keep < 1 {
				return errors.New("--keep is at least 1; smartvm image rm removes single ones")
			}
			return a.noArgs(cmd, args)
		},
	}
	cmd.RunE = a.withOptions(func(opts *smartvm.Options) error {
		if keep > 0 {
			opts.BaseImageRetention = int(keep)
		}
		opts.Logger = nil // it would say again what is printed
		return nil
	}, func(ctx context.Context, m *smartvm.Manager, _ []string) error {
		evicted, err := m.BaseImages().Prune(ctx)
		if a.asJSON {
			return errors.Join(a.printJSON(append([]string{}, evicted...)), err)
		}
		var ids strings.Builder
		for _, id := range evicted {
			ids.WriteString(id + "\n")
		}
		return errors.Join(a.print(ids.String()), err)
	})
	cmd.Flags().Var(&keep, "keep", "how many images to keep (default: "+envRetention+", else 2)")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list")
	return cmd
}
