package cli

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
)

func (a *app) firecrackerLsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the Firecrackers on this machine, and mark the one that VMs use",
		Long: `List the Firecrackers below the data directory, newest first, and the one that VMs
use wherever it is. That has a * under USED; an image or a VM file can demand
another release.`,
		Example: `  smartvm firecracker ls
  smartvm firecracker ls --json | jq -r '.[] | select(.used) | .version'`,
		Args: a.noArgs,
		RunE: a.with(a.listFirecrackers),
	}
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	return cmd
}

// listedRelease is what firecracker ls prints about one.
type listedRelease struct {
	image.Release

	Used bool `json:"used"`
}

func (a *app) listFirecrackers(ctx context.Context, m *smartvm.Manager, _ []string) error {
	releases, err := m.Images().Releases()
	if err != nil {
		return err
	}
	list := []listedRelease{}
	for _, r := range releases {
		list = append(list, listedRelease{Release: r})
	}
	used, err := a.findFirecracker(ctx, firecracker.Version{})
	switch {
	case err == nil:
		list = markUsed(list, used)
	case !errors.Is(err, errcode.BinaryNotFound):
		a.say("warning: %s", new(problem).absorb(err))
	}
	if a.asJSON {
		return a.printJSON(list)
	}
	rows := [][]string{{"USED", "VERSION", "ARCH", "PATH", "JAILER"}}
	for _, r := range list {
		mark := ""
		if r.Used {
			mark = "*"
		}
		rows = append(rows, []string{mark, r.Version.String(), r.Arch, r.Firecracker, cmp.Or(r.Jailer, "-")})
	}
	return a.printTable(rows)
}

// markUsed marks the one that is used, and adds it if it is elsewhere.
func markUsed(list []listedRelease, used image.Binary) []listedRelease {
	for i := range list {
		if path, err := filepath.EvalSymlinks(list[i].Firecracker); err == nil && path == used.Path {
			list[i].Used = true
			return list
		}
	}
	other := image.Release{Version: used.Version, Arch: image.Arch(), Firecracker: used.Path}
	return append([]listedRelease{{other, true}}, list...)
}
