package image_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/image"
)

func TestReleasesAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	store := s.Store(t)
	if got, err := store.Releases(); err != nil || got != nil {
		t.Errorf("without a data directory: %v, %v", got, err)
	}
	bin := image.BinDir(s.opts.DataDir)
	if err := os.MkdirAll(filepath.Join(bin, "firecracker-v9.9.9"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"firecracker-v1.9.2-x86_64", "firecracker-v1.10.0-x86_64", "jailer-v1.10.0-x86_64", "firecracker-v1.10.0-aarch64", "jailer-v1.11.0-x86_64",
		"firecracker-v1.12.1-x86_64.tgz", ".firecracker-v1.12.1-x86_64.lock", "firecracker-v1.13.0-dev-x86_64", "firecracker-v1.14-x86_64",
		"firecracker-v01.15.0-x86_64", "firecracker-v1.16.0-riscv64", "SHA256SUMS-v1.10.0-x86_64",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := store.Releases()
	if err != nil {
		t.Fatal(err)
	}
	want := []image.Release{
		{parse(t, "v1.10.0"), "aarch64", bin + "/firecracker-v1.10.0-aarch64", ""},
		{parse(t, "v1.10.0"), "x86_64", bin + "/firecracker-v1.10.0-x86_64", bin + "/jailer-v1.10.0-x86_64"},
		{parse(t, "v1.9.2"), "x86_64", bin + "/firecracker-v1.9.2-x86_64", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRemovedReleaseIsGoneAndNoOther(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	kept := s.publish(t, "v1.10.0")
	s.publish(t, "v1.12.1")
	store := s.Store(t)
	for _, v := range []string{"v1.10.0", "v1.12.1"} {
		if _, err := store.DownloadFirecracker(t.Context(), parse(t, v)); err != nil {
			t.Fatal(err)
		}
	}
	bin := image.BinDir(s.opts.DataDir)
	archive := "firecracker-v1.12.1-" + image.Arch() + ".tgz"
	for _, left := range []string{archive, "." + archive + ".part", "." + archive + ".part.json"} {
		if err := os.WriteFile(filepath.Join(bin, left), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Remove(t.Context(), parse(t, "v1.12.1")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(installed(kept), s.tree(t)); diff != "" {
		t.Error(diff)
	}
	checkCode(t, store.Remove(t.Context(), parse(t, "v1.12.1")), errcode.BinaryNotFound)
	checkCode(t, newScene(t).Store(t).Remove(t.Context(), parse(t, "v1.12.1")), errcode.BinaryNotFound)
}

func TestVerifyReadsTheFilesAgain(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.publish(t, "v1.12.1")
	store := s.Store(t)
	v := parse(t, "v1.12.1")
	checkCode(t, store.Verify(t.Context(), v), errcode.BinaryNotFound)
	r, err := store.DownloadFirecracker(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Verify(t.Context(), v); err != nil {
		t.Error(err)
	}
	reason := errors.New("no longer wanted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	if err := store.Verify(ctx, v); !errors.Is(err, reason) {
		t.Errorf("got %v, want the cause", err)
	}
	if err := flip(t, r.Jailer); err != nil {
		t.Fatal(err)
	}
	if e := checkCode(t, store.Verify(t.Context(), v), errcode.BinaryUnusable); e.Hint == "" {
		t.Errorf("%v has no hint", e)
	}
}
