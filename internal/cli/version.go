package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
)

// version is set by the linker for releases (-X); see buildVersion.
var version string

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the versions of smartvm and of the Firecracker that it finds",
		Example: "  smartvm version\n  smartvm version --json",
		Args:    a.noArgs,
		RunE:    a.do(a.printVersion),
	}
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print an object")
	return cmd
}

// versions is what version prints.
type versions struct {
	Smartvm     string        `json:"smartvm"`
	Go          string        `json:"go"`
	Platform    string        `json:"platform"`
	Firecracker *image.Binary `json:"firecracker"` // null when there is none
}

func (a *app) printVersion(ctx context.Context, _ []string) error {
	v := versions{Smartvm: buildVersion(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	found, err := a.findFirecracker(ctx, firecracker.Version{})
	if err == nil {
		v.Firecracker = &found
	}
	if a.asJSON {
		return a.printJSON(v)
	}
	line := fmt.Sprintf("firecracker %s (%s)", found.Version, found.Path)
	switch {
	case errors.Is(err, errcode.BinaryNotFound):
		line = "firecracker: none found"
	case err != nil:
		line = "firecracker: unusable: " + new(problem).absorb(err)
	}
	return a.print(fmt.Sprintf("smartvm %s (%s, %s)\n%s\n", v.Smartvm, v.Go, v.Platform, line))
}

func (a *app) dataDirectory() string {
	if a.dataDir == "" {
		return smartvm.DefaultDataDir
	}
	return a.dataDir
}

// buildVersion returns the release, or the module's version as the Go command
// has recorded it: "(devel)" or a commit for a build from a checkout.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
