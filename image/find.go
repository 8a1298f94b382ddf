package image

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// Find looks for Firecracker on this machine: at path if one is given, else in
// the directories of PATH, else below the data directory, where the newest one
// wins. A version that is not zero is demanded. What is found is inspected; see
// [Inspect]. The error is BINARY_NOT_FOUND when there is none.
func Find(ctx context.Context, path, dataDir string, want firecracker.Version) (Binary, error) {
	if path != "" {
		b, err := Inspect(ctx, path)
		if err == nil && !want.IsZero() && b.Version != want {
			err = unusable(path, errors.New("it is "+b.Version.String()+", "+want.String()+" is wanted"), "give the path of that release, or demand no version")
		}
		return b, err
	}
	for _, candidate := range candidates(dataDir, want) {
		b, err := Inspect(ctx, candidate)
		if errors.Is(err, errcode.BinaryNotFound) || errors.Is(err, fs.ErrPermission) { // shells skip what they can't look at, too
			continue
		}
		if err == nil && !want.IsZero() && b.Version != want {
			continue
		}
		return b, err
	}
	return Binary{}, notFound(dataDir, want)
}

// candidates lists the places to look at, best first.
func candidates(dataDir string, want firecracker.Version) []string {
	var paths []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) { // a relative entry means another file in each directory
			paths = append(paths, filepath.Join(dir, "firecracker"))
		}
	}
	if !want.IsZero() {
		return append(paths, FirecrackerPath(dataDir, want, Arch()))
	}
	return append(paths, stored(dataDir)...)
}

// stored lists the Firecrackers for this machine below the data directory, newest
// first.
func stored(dataDir string) []string {
	releases, err := listReleases(dataDir)
	if err != nil {
		return nil // as good as empty: the search ends with what it looked for
	}
	var paths []string
	for _, r := range releases {
		if r.Arch == Arch() {
			paths = append(paths, r.Firecracker)
		}
	}
	return paths
}

func notFound(dataDir string, want firecracker.Version) error {
	what := "firecracker"
	if !want.IsZero() {
		what += " " + want.String()
	}
	return &errcode.Error{
		Code: errcode.BinaryNotFound, Op: "find " + what,
		Err:  errors.New("neither in PATH nor in " + BinDir(dataDir)),
		Hint: "download it (smartvm firecracker pull), give its path (--firecracker, SMARTVM_FIRECRACKER), or put it into PATH",
	}
}
