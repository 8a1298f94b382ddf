//go:build !linux

package hosttest

import (
	"os"
	"testing"
)

func lackKVM() string { return "KVM is part of Linux" }

// Isolate skips the test: namespaces are part of Linux.
func Isolate(tb testing.TB) {
	tb.Helper()
	tb.Skip("needs the namespaces of Linux")
}

// Mount skips the test: it mounts as Linux does.
func Mount(tb testing.TB, _ string, _ map[string]string) *os.Root {
	tb.Helper()
	tb.Skip("needs the mounts of Linux")
	return nil
}

// LoopDevice skips the test: loop devices are part of Linux.
func LoopDevice(tb testing.TB, _ string) string {
	tb.Helper()
	tb.Skip("needs the loop devices of Linux")
	return ""
}

func processes(scene, map[string]string) error   { return nil }
func descriptors(scene, map[string]string) error { return nil }
func mounts(scene, map[string]string) error      { return nil }
func links(scene, map[string]string) error       { return nil }
