package baseimage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

const arch = "x86_64"

// Prefixes of the bucket as it was in 2026.
const (
	train7   = "firecracker-ci/v1.7/x86_64/"
	train12  = "firecracker-ci/v1.12/x86_64/"
	train15  = "firecracker-ci/v1.15/x86_64/"
	oldBuild = "firecracker-ci/20260722-38359b8055fc-0/x86_64/"
	newBuild = "firecracker-ci/20260812-48f1b9fb52e9-0/x86_64/"
)

// ci is the bucket as it was in 2026, a few keys for each of its schemes.
var ci = []string{
	"ci-artifacts/kernels/x86_64/vmlinux-5.10.bin",
	"firecracker-ci/firecracker/v1.16.1/firecracker",
	"firecracker-ci/v1.5/x86_64/vmlinux-5.10.186",
	train7 + "initramfs.cpio",
	train7 + "ubuntu-22.04.ext4",
	train7 + "ubuntu-22.04.id_rsa",
	train7 + "ubuntu-22.04.manifest",
	train7 + "ubuntu-22.04.squashfs",
	train7 + "vmlinux-4.14.336",
	train7 + "vmlinux-5.10.209",
	train7 + "vmlinux-5.10.217",
	train7 + "vmlinux-5.10.209.config",
	train7 + "vmlinux-6.1.77",
	train12 + "debug/vmlinux-6.1.999",
	train12 + "ubuntu-24.04.squashfs",
	train12 + "ubuntu-24.04.ext4",
	train12 + "ubuntu-26.04.ext4",
	train12 + "ubuntu-4.10.squashfs",
	train12 + "vmlinux-5.10.233",
	train12 + "vmlinux-5.10.233-no-acpi",
	train12 + "vmlinux-6.1.99",
	train12 + "vmlinux-6.1.128",
	train12 + "vmlinux-6.1.128.config",
	train12 + "vmlinux-6.1.200.debug",
	train15 + "ubuntu-24.04.squashfs",
	train15 + "vmlinux-5.10.245-no-acpi",
	train15 + "vmlinux-6.1.155",
	"firecracker-ci/20260130-7073e31a0ed7-0/aarch64/vmlinux-6.1.160",
	oldBuild + "ubuntu-24.04.squashfs",
	oldBuild + "vmlinux-6.1.176",
	newBuild + "al2023.squashfs",
	newBuild + "bzImage-6.18.39",
	newBuild + "debug/vmlinux-6.18.39",
	newBuild + "ubuntu-24.04.squashfs",
	newBuild + "vmlinux-5.10.250",
	newBuild + "vmlinux-6.1.180",
	newBuild + "vmlinux-6.18.39",
	newBuild + "vmlinux-6.18.39.config",
	newBuild + "vmlinux-7.2.1",
}

var modified = time.Date(2026, 8, 12, 1, 2, 3, 0, time.UTC)

func site(tb testing.TB, keys []string) *fetchtest.Site {
	tb.Helper()
	s := fetchtest.New(tb)
	for _, key := range keys {
		s.PutObject(key, []byte(key), modified)
	}
	return s
}

func fetcher(s *fetchtest.Site) *fetch.Fetcher {
	return fetch.New(fetch.Options{Transport: s.Transport(), Attempts: 1})
}

func version(tb testing.TB, text string) firecracker.Version {
	tb.Helper()
	v, err := firecracker.ParseVersion(text)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// without returns the keys that do not have the prefix.
func without(keys []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return strings.HasPrefix(key, prefix) })
}

var resolveTests = []struct {
	name, version  string
	keys           []string
	kernel, rootfs string
	warning        string // part of the only one
}{
	{"the lts train", "v1.7.0", ci, train7 + "vmlinux-5.10.217", train7 + "ubuntu-22.04.squashfs", ""},
	{"the lts train as its guide knows it", "v1.7.0", without(ci, train7+"ubuntu-22.04.squashfs"), train7 + "vmlinux-5.10.217", train7 + "ubuntu-22.04.ext4", ""},
	{"a train", "v1.12.1", ci, train12 + "vmlinux-6.1.128", train12 + "ubuntu-24.04.squashfs", ""},
	{"the last train", "v1.15.9", ci, train15 + "vmlinux-6.1.155", train15 + "ubuntu-24.04.squashfs", ""},
	{"a build", "v1.16.1", ci, newBuild + "vmlinux-6.18.39", newBuild + "ubuntu-24.04.squashfs", ""},
	{"a build for the release before 6.18", "v1.16.0", ci, newBuild + "vmlinux-6.1.180", newBuild + "ubuntu-24.04.squashfs", ""},
	{"a build for a release that is not out", "v2.0.0", ci, newBuild + "vmlinux-6.18.39", newBuild + "ubuntu-24.04.squashfs", ""},
	{"the newest build lacks a root file system", "v1.16.1", without(ci, newBuild+"ubuntu"), oldBuild + "vmlinux-6.1.176", oldBuild + "ubuntu-24.04.squashfs", "newest CI build, firecracker-ci/20260812-48f1b9fb52e9-0/,"},
	{"the newest build lacks a kernel", "v1.16.1", without(ci, newBuild+"vmlinux-"), oldBuild + "vmlinux-6.1.176", oldBuild + "ubuntu-24.04.squashfs", "took those of firecracker-ci/20260722-38359b8055fc-0/"},
	{"no builds", "v1.16.1", without(ci, "firecracker-ci/2026"), train15 + "vmlinux-6.1.155", train15 + "ubuntu-24.04.squashfs", "no CI build for Firecracker v1.16.1: took the kernel and root file system of firecracker-ci/v1.15/"},
	{"builds of no use", "v1.16.1", without(without(ci, newBuild), oldBuild), train15 + "vmlinux-6.1.155", train15 + "ubuntu-24.04.squashfs", "no CI build"},
}

func TestResolveTakesTheNewestThatFits(t *testing.T) {
	t.Parallel()
	for _, tt := range resolveTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := site(t, tt.keys)
			s.PageSize = 3
			tree := t.TempDir()
			s.WriteTree(t, tree)
			for _, bucket := range []string{s.BucketURL(), s.BucketURL() + "/", "file://" + filepath.Join(tree, "bucket")} {
				got, err := baseimage.Resolve(t.Context(), bucket, fetcher(s), version(t, tt.version), arch)
				if err != nil {
					t.Errorf("%s: %v", bucket, err)
					continue
				}
				if got.Kernel.Key != tt.kernel || got.Rootfs.Key != tt.rootfs {
					t.Errorf("%s: got %s and %s, want %s and %s", bucket, got.Kernel.Key, got.Rootfs.Key, tt.kernel, tt.rootfs)
				}
				if warning := strings.Join(got.Warnings, "\n"); (warning == "") != (tt.warning == "") || !strings.Contains(warning, tt.warning) {
					t.Errorf("%s: got the warning %q, want %q in it", bucket, warning, tt.warning)
				}
				wantType := baseimage.RootfsType(strings.TrimPrefix(filepath.Ext(tt.rootfs), "."))
				if want := version(t, tt.version); got.FirecrackerVersion != want || got.Arch != arch || got.RootfsType != wantType || got.Prefix+filepath.Base(tt.kernel) != tt.kernel {
					t.Errorf("%s: got %+v", bucket, got)
				}
			}
		})
	}
}

func TestResolveTellsWhatTheListingSays(t *testing.T) {
	t.Parallel()
	s := site(t, ci)
	got, err := baseimage.Resolve(t.Context(), s.BucketURL(), fetcher(s), version(t, "v1.15.1"), arch)
	if err != nil {
		t.Fatal(err)
	}
	const key = train15 + "vmlinux-6.1.155"
	data, err := fetcher(s).Bytes(t.Context(), got.Kernel.URL, 1000)
	if err != nil || string(data) != key {
		t.Errorf("%s leads to %q (%v)", got.Kernel.URL, data, err)
	}
	want := baseimage.Object{Key: key, URL: s.BucketURL() + "/" + key, Size: int64(len(key)), LastModified: modified, ETag: got.Kernel.ETag}
	if diff := cmp.Diff(want, got.Kernel); diff != "" || len(want.ETag) != 34 {
		t.Errorf("ETag %s (-want +got):\n%s", want.ETag, diff)
	}

	tree := filepath.Join(t.TempDir(), "a b%20c#?")
	s.WriteTree(t, tree)
	got, err = baseimage.Resolve(t.Context(), "file://"+filepath.ToSlash(strings.NewReplacer(" ", "%20", "%", "%25", "#", "%23", "?", "%3F").Replace(tree))+"/bucket", fetcher(s), version(t, "v1.15.1"), arch)
	if err != nil {
		t.Fatal(err)
	}
	data, err = fetcher(s).Bytes(t.Context(), got.Kernel.URL, 1000)
	if err != nil || string(data) != key || got.Kernel.Size != int64(len(key)) || !got.Kernel.LastModified.Equal(modified) {
		t.Errorf("%+v leads to %q (%v)", got.Kernel, data, err)
	}
}

// facts returns the error's text and its details as lines.
func facts(tb testing.TB, err error, code errcode.Code) string {
	tb.Helper()
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != code {
		tb.Fatalf("got %v, want the code %s", err, code)
	}
	text := err.Error() + "\n"
	for _, d := range e.Details {
		text += d.String() + "\n"
	}
	return text
}

func TestResolveFailureShowsWhatWasLookedFor(t *testing.T) {
	t.Parallel()
	tests := []struct {
		file, version string
		keys          []string
		empty         string // a key without content
	}{
		{"resolve-train.txt", "v1.12.1", without(without(ci, train12+"vmlinux-6.1"), train12+"vmlinux-5.10.233"), ""},
		{"resolve-missing-train.txt", "v1.3.0", ci, ""},
		{"resolve-builds.txt", "v1.16.0", append(without(without(ci, newBuild+"vmlinux-"), train15), newBuild+"vmlinux-6.18.39"), oldBuild + "vmlinux-6.1.176"},
		{"resolve-empty-bucket.txt", "v1.16.1", nil, ""},
		{"resolve-too-old.txt", "v0.25.2", ci, ""},
	}
	for _, tt := range tests {
		s := site(t, tt.keys)
		if tt.version == "v1.12.1" {
			s.PutObject(train12+"vmlinux-6.18.2", []byte("x"), modified)
			s.PutObject(train12+"vmlinux-\u202e6", []byte("x"), modified)
		}
		if tt.empty != "" {
			s.PutObject(tt.empty, nil, modified)
		}
		_, err := baseimage.Resolve(t.Context(), s.BucketURL(), fetcher(s), version(t, tt.version), arch)
		golden(t, tt.file, strings.ReplaceAll(facts(t, err, errcode.BaseImageResolveFailed), s.BucketURL(), "BUCKET"))
	}
}

func TestResolveFailureKeepsTheDownloadsReason(t *testing.T) {
	t.Parallel()
	s := site(t, ci)
	s.Misbehave("/bucket", fetchtest.Fault{Status: 403})
	bucket := strings.Replace(s.BucketURL(), "http://", "http://me:hunter2@", 1)
	_, err := baseimage.Resolve(t.Context(), bucket, fetcher(s), version(t, "v1.12.1"), arch)
	if text := facts(t, err, errcode.BaseImageResolveFailed); !errors.Is(err, errcode.DownloadFailed) || strings.Contains(text, "hunter2") || !strings.Contains(text, train12) {
		t.Errorf("got %s", text)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, bucket := range []string{s.BucketURL(), "file://" + t.TempDir()} {
		if _, err := baseimage.Resolve(ctx, bucket, fetcher(s), version(t, "v1.12.1"), arch); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want a cancellation", bucket, err)
		} else {
			facts(t, err, errcode.Cancelled)
		}
	}

	if _, err := baseimage.Resolve(t.Context(), "file:///nowhere/at/all", nil, version(t, "v1.12.1"), arch); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a mirror that is not there: got %v", err)
	} else {
		facts(t, err, errcode.BaseImageResolveFailed)
	}
}

func TestResolveRefusesWhatItCantMean(t *testing.T) {
	t.Parallel()
	for _, bucket := range []string{"", "s3://spec.ccfc.min", "http://", "https://:80", "/srv/mirror", "file://host/srv", "https://h/?list-type=2", "https://h/#x", "https://me:hunter2@%zz/"} {
		_, err := baseimage.Resolve(t.Context(), bucket, nil, version(t, "v1.12.1"), arch)
		if text := facts(t, err, errcode.InvalidConfig); strings.Contains(text, "hunter2") {
			t.Errorf("%s: got %s", bucket, text)
		}
	}
	for _, tt := range []struct {
		v    firecracker.Version
		arch string
	}{{version(t, "v1.12.1"), "amd64"}, {version(t, "v1.12.1"), "../x86_64"}, {firecracker.Version{}, arch}} {
		_, err := baseimage.Resolve(t.Context(), "https://h", nil, tt.v, tt.arch)
		facts(t, err, errcode.InvalidConfig)
	}
}
