package smartvm_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/hosttest"
)

func TestBinaryThatCannotBeTrustedOrRunIsRefused(t *testing.T) {
	nobody := func(t *testing.T, path string) {
		t.Helper()
		hosttest.Need(t, hosttest.Root)
		must(t, os.Chown(path, 65534, 65534))
	}
	tests := []struct {
		name  string
		spoil func(t *testing.T, path string)
		code  smartvm.Code
	}{
		{"missing", func(t *testing.T, path string) { t.Helper(); must(t, os.Remove(path)) }, "BINARY_NOT_FOUND"},
		{"a directory", func(t *testing.T, path string) {
			t.Helper()
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o755))
		}, "BINARY_UNUSABLE"},
		{"not executable", func(t *testing.T, path string) { t.Helper(); must(t, os.Chmod(path, 0o644)) }, "BINARY_UNUSABLE"},
		{"world-writable", func(t *testing.T, path string) { t.Helper(); must(t, os.Chmod(path, 0o777)) }, "BINARY_UNUSABLE"},
		{"in a world-writable directory", func(t *testing.T, path string) {
			t.Helper()
			must(t, os.Chmod(filepath.Dir(path), 0o777))
		}, "BINARY_UNUSABLE"},
		{"of another user", nobody, "BINARY_UNUSABLE"},
		{"of another architecture", func(t *testing.T, path string) {
			t.Helper()
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt([]byte{0xf3, 0}, 18) // e_machine: RISC-V
			must(t, errors.Join(err, f.Close()))
		}, "BINARY_UNUSABLE"},
		{"a script", func(t *testing.T, path string) {
			t.Helper()
			write(t, path, []byte("#!/bin/sh\necho Firecracker v1.12.1\n"))
			must(t, os.Chmod(path, 0o755))
		}, "BINARY_UNUSABLE"},
		{"another program", func(t *testing.T, path string) {
			t.Helper()
			write(t, path+".json", []byte(`{"version":"v1.2.3 of something else"}`))
		}, "BINARY_UNUSABLE"},
		{"a link to nothing", func(t *testing.T, path string) {
			t.Helper()
			must(t, os.Remove(path))
			must(t, os.Symlink("/no/such/file", path))
		}, "BINARY_NOT_FOUND"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fakeSite(t, fake{})
			path := filepath.Join(s.files, "firecracker")
			copyFile(t, s.opts.FirecrackerPath, path)
			write(t, path+".json", []byte("{}"))
			tt.spoil(t, path)
			s.opts.FirecrackerPath = path
			s.Manager = s.another()
			vm := s.create("", s.config())
			wantUndone(t, vm, vm.Start(patient(t)), tt.code)
		})
	}
}

func TestBinaryIsLookedAtAgainWhenItWasReplaced(t *testing.T) {
	s := fakeSite(t, fake{})
	first, err := s.EnsureBinary(patient(t))
	must(t, err)
	path := s.opts.FirecrackerPath
	must(t, unix.Rename(fake{}.install(t), path))
	write(t, path+".json", []byte(`{"version":"v1.13.0"}`))
	second, err := s.EnsureBinary(patient(t))
	if err != nil || second == first || second.Version.String() != "v1.13.0" {
		t.Errorf("first %v, then %v, %v", first, second, err)
	}
}
