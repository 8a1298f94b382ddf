package cli

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
)

func (a *app) imageLsCommand() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the images in the cache",
		Long: `List the images in the cache, the most recently used first. USED is how long ago
that was. STATE is "in use" while a VM or a program uses the image, and "damaged"
when a look at it, without reading it all, shows that; image verify reads it.`,
		Example: `  smartvm image ls
  smartvm image ls --json
  smartvm image rm $(smartvm image ls -q)`,
		Args: exclusive(a.noArgs, "quiet", "json"),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, _ []string) error {
			images, err := m.BaseImages().List(ctx)
			if err != nil {
				return err
			}
			return a.printImages(images, quiet)
		}),
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "ids only")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	return cmd
}

func (a *app) printImages(images []baseimage.Status, quiet bool) error {
	switch {
	case a.asJSON:
		return a.printJSON(append([]baseimage.Status{}, images...))
	case quiet:
		var ids strings.Builder
		for i := range images {
			ids.WriteString(images[i].ID + "\n")
		}
		return a.print(ids.String())
	}
	now := time.Now()
	rows := [][]string{{"ID", "FIRECRACKER", "ROOTFS", "SIZE", "USED", "STATE"}}
	for i := range images {
		rows = append(rows, a.imageRow(&images[i], now))
	}
	return a.printTable(rows)
}

func (a *app) imageRow(i *baseimage.Status, now time.Time) []string {
	version, size, used, state := "-", "-", "-", "ok"
	if !i.FirecrackerVersion.IsZero() {
		version, size = i.FirecrackerVersion.String(), byteSize(i.SizeBytes)
	}
	if !i.LastUsedAt.IsZero() {
		used = age(i.LastUsedAt, now)
	}
	switch {
	case i.Damaged != "":
		state = "damaged"
		a.say("warning: %s: %s", i.ID, i.Damaged)
	case i.InUse:
		state = "in use"
	}
	return []string{i.ID, version, cmp.Or(string(i.RootfsType), "-"), size, used, state}
}
