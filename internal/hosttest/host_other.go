//go:build !linux

package hosttest

import "testing"

func lackKVM() string { return "KVM is part of Linux" }

// Isolate skips the test: namespaces are part of Linux.
func Isolate(tb testing.TB) {
	tb.Helper()
	tb.Skip("needs the namespaces of Linux")
}

func processes(scene, map[string]string) error   { return nil }
func descriptors(scene, map[string]string) error { return nil }
func mounts(scene, map[string]string) error      { return nil }
func links(scene, map[string]string) error       { return nil }
