package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/smartvm/smartvm/errcode"
)

// FindJailer looks for the jailer of a Firecracker, which has to be of the same
// release: at path if one is given, else beside the Firecracker, below the data
// directory, and in the directories of PATH. What is found is inspected as by
// [Inspect]. The error is BINARY_NOT_FOUND when there is none.
func FindJailer(ctx context.Context, path string, fc Binary, dataDir string) (Binary, error) {
	if path != "" {
		b, err := inspect(ctx, path, "Jailer")
		if err == nil && b.Version != fc.Version {
			err = unusable(path, errors.New("it is of "+b.Version.String()+", and Firecracker of "+fc.Version.String()), "give the jailer out of Firecracker's own release archive")
		}
		return b, err
	}
	for _, candidate := range jailers(fc, dataDir) {
		b, err := inspect(ctx, candidate, "Jailer")
		if errors.Is(err, errcode.BinaryNotFound) || err == nil && b.Version != fc.Version {
			continue
		}
		return b, err
	}
	return Binary{}, &errcode.Error{
		Code: errcode.BinaryNotFound, Op: "find jailer " + fc.Version.String(),
		Err:  errors.New("it is not beside " + fc.Path + ", nor in " + BinDir(dataDir) + ", nor in PATH"),
		Hint: "put the jailer of Firecracker's release archive beside it, download both (smartvm firecracker pull), or switch the jail off (--no-jail)",
	}
}

// jailers lists the places to look at, best first. A name that Firecracker's has to
// its end, such as -v1.12.1-x86_64, its jailer has too.
func jailers(fc Binary, dataDir string) []string {
	dir, name := filepath.Split(fc.Path)
	paths := []string{filepath.Join(dir, "jailer"), JailerPath(dataDir, fc.Version, Arch())}
	if suffix, named := strings.CutPrefix(name, "firecracker"); named && suffix != "" {
		paths = append([]string{filepath.Join(dir, "jailer"+suffix)}, paths...)
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) {
			paths = append(paths, filepath.Join(dir, "jailer"))
		}
	}
	return paths
}
