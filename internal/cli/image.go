package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
)

func (a *app) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image pull|ls|inspect|verify|prune|rm|pack",
		Short: "Fetch and keep what Linux guests boot from",
		Long: `Fetch and keep images: a kernel and a root file system that fit a Firecracker
release, with the boot arguments that go with them and, for kernels that need one,
an initrd. An IMAGE is one of
  latest   the newest of Firecracker's CI, for its newest release
  lts      the pinned train v1.7
  hosted   what the manifest of the environment describes
  a manifest of your own: a URL, or a path that has a / or ends in .json
  the id of an image in the cache, as image ls lists it`,
		Example: `  smartvm image pull latest
  smartvm run --image latest
  smartvm image ls`,
		Args: a.noArgs,
		RunE: a.help,
	}
	cmd.AddCommand(a.imagePullCommand(), a.imageLsCommand(), a.imageInspectCommand(), a.imageVerifyCommand(), a.imagePruneCommand(),
		a.imageRmCommand(), a.imagePackCommand())
	return cmd
}

// imageRequest says which image a word means: a preset; a manifest, if it has a
// slash, as URLs and paths do, or ends in .json; else the id of one in the cache.
func imageRequest(word string) (baseimage.Request, error) {
	switch preset := baseimage.Preset(word); {
	case word == "":
		return baseimage.Request{}, errors.New("the name of the image is empty: use latest, lts, a manifest or an id")
	case slices.Contains(presets, preset):
		return baseimage.Request{Preset: preset}, nil
	case strings.Contains(word, "/"), strings.HasSuffix(word, ".json"):
		return baseimage.Request{Preset: baseimage.Hosted, Manifest: word}, nil
	default:
		return baseimage.Request{ID: word}, nil
	}
}

var presets = []baseimage.Preset{baseimage.Latest, baseimage.LTS, baseimage.Hosted}

// defaultImage is the one that the environment names, else latest.
func defaultImage() (baseimage.Request, error) {
	preset := baseimage.Preset(os.Getenv(envPreset))
	switch {
	case preset == "" && os.Getenv(envManifestURL)+os.Getenv(envManifest) != "":
		preset = baseimage.Hosted
	case preset == "":
		preset = baseimage.Latest
	case !slices.Contains(presets, preset):
		return baseimage.Request{}, badVariable(envPreset, fmt.Errorf("%q is none of latest, lts, hosted", preset))
	}
	return baseimage.Request{Preset: preset}, nil
}

// ensureImage gets an image into the cache. What the request itself has wrong is
// the command line's fault.
func ensureImage(ctx context.Context, m *smartvm.Manager, req baseimage.Request) (*baseimage.Bundle, error) {
	b, err := m.EnsureBaseImage(ctx, req)
	if e, ok := err.(*smartvm.Error); ok && e.Code == smartvm.InvalidConfig { //nolint:errorlint // not an inner one
		return nil, usageError{err}
	}
	return b, err
}

// someIDs is for commands that take ids of images.
func someIDs(cmd *cobra.Command, ids []string) error {
	if len(ids) == 0 {
		return fmt.Errorf("the id of an image is missing: %s", cmd.UseLine())
	}
	return anyIDs(cmd, ids)
}

// anyIDs is for commands that take ids of images, or none.
func anyIDs(_ *cobra.Command, ids []string) error {
	for _, id := range ids {
		if id == "" || strings.Contains(id, "/") || id[0] == '.' {
			return fmt.Errorf("%q is not the id of an image: smartvm image ls lists them", id)
		}
	}
	return nil
}

// completeImages completes ids of images and, before them, the given words; for most
// see complete.
func (a *app) completeImages(most int, rest cobra.ShellCompDirective, words ...cobra.Completion) cobra.CompletionFunc {
	return a.complete(most, rest, words, func(ctx context.Context, m *smartvm.Manager) (found []cobra.Completion, err error) {
		images, err := m.BaseImages().List(ctx)
		for _, i := range images {
			found = append(found, cobra.CompletionWithDesc(i.ID, i.Name))
		}
		return found, err
	})
}

// presetWords are completions.
var presetWords = []cobra.Completion{
	"latest\tthe newest of Firecracker's CI", "lts\tthe pinned train v1.7", "hosted\tof the environment's manifest",
}
