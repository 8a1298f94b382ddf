package image

import (
	"path/filepath"

	"github.com/smartvm/smartvm/firecracker"
)

// BinDir returns the directory of the binaries below a data directory.
func BinDir(dataDir string) string { return filepath.Join(dataDir, "bin") }

// KernelsDir returns the directory of the kernels below a data directory.
func KernelsDir(dataDir string) string { return filepath.Join(dataDir, "kernels") }

// RootfsDir returns the directory of the root file systems below a data directory.
func RootfsDir(dataDir string) string { return filepath.Join(dataDir, "rootfs") }

// SocketsDir returns the directory for the API sockets of programs that start
// Firecracker by themselves. The sockets of a Manager's VMs lie in its runtime
// directory.
func SocketsDir(dataDir string) string { return filepath.Join(dataDir, "sockets") }

// FirecrackerPath returns where the Firecracker of a release is kept below a data directory.
func FirecrackerPath(dataDir string, v firecracker.Version, arch string) string {
	return filepath.Join(BinDir(dataDir), firecrackerName(v, arch))
}

// JailerPath returns where the jailer of a release is kept below a data directory.
func JailerPath(dataDir string, v firecracker.Version, arch string) string {
	return filepath.Join(BinDir(dataDir), jailerName(v, arch))
}

// KernelPath returns where the kernel of that name is kept below a data directory.
func KernelPath(dataDir, name string) string { return filepath.Join(KernelsDir(dataDir), name) }

// RootfsPath returns where the root file system of that name is kept below a data
// directory.
func RootfsPath(dataDir, name string) string { return filepath.Join(RootfsDir(dataDir), name) }

// SocketPath returns the path of an API socket for the VM of that id, which must
// be a valid one: see [SocketsDir].
func SocketPath(dataDir, vmID string) string {
	return filepath.Join(SocketsDir(dataDir), vmID+".sock")
}

// The names of a release's files, in the archive as well as below the data
// directory.
func firecrackerName(v firecracker.Version, arch string) string {
	return "firecracker-" + v.String() + "-" + arch
}

func jailerName(v firecracker.Version, arch string) string {
	return "jailer-" + v.String() + "-" + arch
}
