package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
)

func (a *app) imagePullCommand() *cobra.Command {
	var force, verify bool
	var req baseimage.Request
	cmd := &cobra.Command{
		Use:   "pull [IMAGE]",
		Short: "Get an image into the cache, verified, and print its id",
		Long: `Get an image into the cache and print its id. One that is there is not fetched
again but verified, and what is damaged of it is repaired. The default is the
image of the environment (smartvm help environment), else latest. IMAGE is
latest, lts, the URL or path of a manifest, or an id; see smartvm image.

Images beyond the limit of the cache are evicted, those in use are not.`,
		Example: `  smartvm image pull
  smartvm image pull latest --firecracker-version v1.12.1
  smartvm image pull https://example.com/images/web.json
  smartvm image pull ./manifest.json --json | jq -r .kernel.path`,
		ValidArgsFunction: a.completeImages(1, cobra.ShellCompDirectiveDefault, presetWords...),
	}
	cmd.Args = func(_ *cobra.Command, args []string) (err error) {
		if len(args) > 1 {
			return tooMany(cmd, args[1])
		}
		if len(args) == 1 {
			req, err = imageRequest(args[0])
		} else {
			req, err = defaultImage()
		}
		return err
	}
	cmd.RunE = a.with(func(ctx context.Context, m *smartvm.Manager, _ []string) error {
		req.ForceDownload, req.Verify, req.FirecrackerVersion = force, verify, firecracker.Version(a.wanted)
		b, err := ensureImage(ctx, m, req)
		switch {
		case err != nil:
			return err
		case a.asJSON:
			return a.printJSON(b)
		default:
			return a.print(b.ID + "\n")
		}
	})
	cmd.Flags().BoolVar(&force, "force", false, "fetch it again, even if the cache has it")
	cmd.Flags().BoolVar(&verify, "verify", false, "read what the cache has from the disk and hash it, whatever is known of it")
	a.offlineFlag(cmd)
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print all about the image instead of its id")
	return cmd
}
