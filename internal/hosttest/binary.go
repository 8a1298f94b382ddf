package hosttest

import (
	"os"
	"path/filepath"
	"testing"
)

// release is the Firecracker that scripts/get-firecracker fetches.
const release = "firecracker-v1.12.1-x86_64"

// Firecracker returns the path of the Firecracker to test with. The test is
// skipped when there is none, see [Need].
func Firecracker(tb testing.TB) string {
	tb.Helper()
	Need(tb, Binary)
	path, _ := binary()
	return path
}

// Boot is what a test that boots a microVM calls first: it needs [Integration],
// [KVM] and [Binary]. It returns the path of Firecracker.
func Boot(tb testing.TB) string {
	tb.Helper()
	Need(tb, Integration, KVM, Binary)
	return Firecracker(tb)
}

func lackBinary() string {
	_, lack := binary()
	return lack
}

// binary looks where scripts/get-firecracker does, and in the same order.
func binary() (path, lack string) {
	if given := os.Getenv(binaryVar); given != "" {
		if executable(given) {
			return given, ""
		}
		return "", given + " (" + binaryVar + ") can't be executed"
	}
	if path := inPath("firecracker"); path != "" {
		return path, ""
	}
	data := os.Getenv(dataDirVar)
	if data == "" {
		data = "/tmp/.smartvm"
	}
	for _, path := range []string{filepath.Join(data, "bin", release), filepath.Join(moduleRoot(), ".cache", "bin", release)} {
		if executable(path) {
			return path, ""
		}
	}
	return "", "there is no Firecracker: run scripts/get-firecracker, or set " + binaryVar
}

// moduleRoot returns the folder of go.mod: go test runs in the folder of the package.
func moduleRoot() string {
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	return ""
}

// inPath does what exec.LookPath does; os/exec belongs to internal/proc alone.
func inPath(command string) string {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if path := filepath.Join(dir, command); filepath.IsAbs(path) && executable(path) {
			return path
		}
	}
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path) //nolint:gosec // whoever sets the environment of a test may choose its paths
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}
