package baseimage_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
)

// flip changes one bit and puts the time of modification back, as a disk does.
func flip(tb testing.TB, path string) {
	tb.Helper()
	info, err := os.Stat(path)
	if err != nil {
		tb.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	data[len(data)/2] ^= 1
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close(), os.Chtimes(path, time.Time{}, info.ModTime())); err != nil {
		tb.Fatal(err)
	}
}

// injuries are what may happen to a file of the cache; each returns what the
// operator should read.
var injuries = map[string]struct {
	says   string
	injure func(tb testing.TB, path string) error
}{
	"one bit":   {"SHA256", func(tb testing.TB, path string) error { tb.Helper(); flip(tb, path); return nil }},
	"truncated": {"bytes", func(_ testing.TB, path string) error { return os.Truncate(path, 100) }},
	"empty":     {"0 bytes", func(_ testing.TB, path string) error { return os.Truncate(path, 0) }},
	"longer":    {"bytes", func(_ testing.TB, path string) error { return os.Truncate(path, 1<<20) }},
	"missing":   {"missing", func(_ testing.TB, path string) error { return os.Remove(path) }},
	"link": {"symbolic link", func(tb testing.TB, path string) error {
		tb.Helper()
		outside := filepath.Join(tb.TempDir(), "outside")
		return errors.Join(os.Rename(path, outside), os.Symlink(outside, path))
	}},
	"link inside": {"symbolic link", func(_ testing.TB, path string) error {
		inside := filepath.Join(filepath.Dir(path), "moved")
		return errors.Join(os.Rename(path, inside), os.Symlink("moved", path))
	}},
	"dangling link": {"symbolic link", func(_ testing.TB, path string) error {
		return errors.Join(os.Remove(path), os.Symlink("nowhere", path))
	}},
	"directory": {"directory", func(_ testing.TB, path string) error {
		return errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "deep", "er"), 0o700))
	}},
	"FIFO": {"FIFO", func(_ testing.TB, path string) error {
		return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
	}},
	"writable by others": {"mode", func(_ testing.TB, path string) error { return os.Chmod(path, 0o666) }},
}

func TestEnsureRepairsWhateverHappensToAFile(t *testing.T) {
	t.Parallel()
	for name, tt := range injuries {
		for _, victim := range []string{"kernel", "rootfs", "initrd"} {
			t.Run(name+" "+victim, func(t *testing.T) {
				t.Parallel()
				p, cache, log := newInitrdProject(t, "hurt"), cacheDir(t), &journal{}
				s := open(t, baseimage.Options{CacheDir: cache, Logger: log.logger()})
				b := ensure(t, s, p.request())
				path := map[string]string{"kernel": b.Kernel.Path, "rootfs": b.Rootfs.Path, "initrd": b.Initrd.Path}[victim]

				// The store that has leased it finds out, and so does another one,
				// while the bundle is in use.
				for _, s := range []*baseimage.Store{s, open(t, baseimage.Options{CacheDir: cache, Logger: log.logger()})} {
					if err := tt.injure(t, path); err != nil {
						t.Fatal(err)
					}
					before := log.String()
					p.isIn(t, ensure(t, s, p.request()))
					wantText(t, strings.TrimPrefix(log.String(), before), "fetched again", filepath.Base(path), tt.says)
					if left := names(t, cache); len(left) != 2 { // the bundle and the locks
						t.Errorf("left in the cache: %v", left)
					}
				}
			})
		}
	}
}

func TestRepairDoesNotWriteThroughALink(t *testing.T) {
	t.Parallel()
	p, outside := newProject(t, "linked"), filepath.Join(t.TempDir(), "outside")
	s := open(t, baseimage.Options{CacheDir: cacheDir(t)})
	b := ensure(t, s, p.request())
	if err := errors.Join(os.WriteFile(outside, []byte("mine"), 0o600), os.Remove(b.Rootfs.Path), os.Symlink(outside, b.Rootfs.Path)); err != nil {
		t.Fatal(err)
	}
	holds(t, ensure(t, s, p.request()), p.kernel, p.rootfs)
	if data, err := os.ReadFile(outside); err != nil || string(data) != "mine" {
		t.Errorf("the file outside is %q now, error %v", data, err)
	}
}

func TestRepairLeavesTheGoodFileAlone(t *testing.T) {
	t.Parallel()
	p := newProject(t, "half")
	s := open(t, baseimage.Options{CacheDir: cacheDir(t)})
	b := ensure(t, s, p.request())
	before, err := os.Stat(b.Kernel.Path)
	if err != nil {
		t.Fatal(err)
	}
	flip(t, b.Rootfs.Path)
	holds(t, ensure(t, s, p.request()), p.kernel, p.rootfs)
	after, err := os.Stat(b.Kernel.Path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the kernel was replaced (%v)", err)
	}
}

func TestRepairTakesOnlyWhatWasPromised(t *testing.T) {
	t.Parallel()
	p := newProject(t, "changed")
	p.write(t, "changed", func(m *baseimage.Manifest) { m.Kernel.SHA256, m.Rootfs.SHA256 = "", "" })
	s := open(t, baseimage.Options{CacheDir: cacheDir(t)})
	b := ensure(t, s, p.request())
	flip(t, b.Rootfs.Path)
	flip(t, filepath.Join(p.dir, "r")) // the source has changed since
	_, err := s.Ensure(t.Context(), p.request())
	wantCode(t, err, errcode.BaseImagePrepareFailed)
	wantText(t, err.Error(), b.Rootfs.SHA256)
}

func TestEnsureRepairsADamagedDescription(t *testing.T) {
	t.Parallel()
	for name, injure := range map[string]func(path string) error{
		"garbage":   func(path string) error { return os.WriteFile(path, []byte("{]"), 0o600) },
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"huge":      func(path string) error { return os.Truncate(path, 1<<30) },
		"missing":   os.Remove,
		"directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"link":      func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path)) },
		"FIFO":      func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"another's": func(path string) error { return replaceIn(path, `"bundleId": "undescribed"`, `"bundleId": "somebody"`) },
		"no hash":   func(path string) error { return replaceIn(path, `"sha256"`, `"sha265"`) },
		"escape":    func(path string) error { return replaceIn(path, `"fileName": "vmlinux"`, `"fileName": "../vmlinux"`) },
		"no initrd": func(path string) error {
			return replaceIn(path, "    \"rootfs\": {", "    \"initrd\": {},\n    \"rootfs\": {")
		},
		"two": func(path string) error { return replaceIn(path, "\n}\n", "\n}\n{}") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, cache := newProject(t, "undescribed"), cacheDir(t)
			s := open(t, baseimage.Options{CacheDir: cache})
			b := ensure(t, s, p.request())
			path := filepath.Join(filepath.Dir(b.Kernel.Path), "bundle.json")
			if err := injure(path); err != nil {
				t.Fatal(err)
			}

			all, err := s.List(t.Context())
			if err != nil || len(all) != 1 || all[0].ID != "undescribed" || all[0].Damaged == "" || !all[0].InUse {
				t.Fatalf("listed as %+v, error %v", all, err)
			}
			_, err = s.Bundle(t.Context(), "undescribed")
			wantCode(t, err, errcode.BaseImageDamaged)
			wantCode(t, s.Verify(t.Context(), "undescribed"), errcode.BaseImageDamaged)

			// Nobody knows what those who use it were promised.
			_, err = s.Ensure(t.Context(), p.request())
			wantCode(t, err, errcode.BaseImageInUse)
			shut(t, s)
			s = open(t, baseimage.Options{CacheDir: cache})
			holds(t, ensure(t, s, p.request()), p.kernel, p.rootfs)
			if err := s.Verify(t.Context(), "undescribed"); err != nil {
				t.Error(err)
			}
		})
	}
}

func replaceIn(path, from, to string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Contains(data, []byte(from)) {
		return errors.New(path + " has no " + from)
	}
	return os.WriteFile(path, bytes.Replace(data, []byte(from), []byte(to), 1), 0o600)
}

func poison(t *testing.T, s *baseimage.Store, id string) {
	t.Helper()
	if err := baseimage.PoisonMemory(t.Context(), s, id); err != nil {
		t.Fatal(err)
	}
}

func TestEnsureTrustsWhatItHasHashedUntilItMayHaveChanged(t *testing.T) {
	t.Parallel()
	p, log := newInitrdProject(t, "hashed"), &journal{}
	s := open(t, baseimage.Options{CacheDir: cacheDir(t), Logger: log.logger()})
	b := ensure(t, s, p.request())

	// Verify hashes whatever is remembered.
	poison(t, s, b.ID)
	ensure(t, s, baseimage.Request{Manifest: p.manifest, Verify: true})
	if log.String() != "" {
		t.Fatalf("it was found damaged: %s", log)
	}

	// Any change of the inode makes the memory void, even one that leaves the content.
	poison(t, s, b.ID)
	for _, path := range []string{b.Kernel.Path, b.Rootfs.Path, b.Initrd.Path} {
		if err := os.Link(path, filepath.Join(t.TempDir(), "jail")); err != nil {
			t.Fatal(err)
		}
	}
	ensure(t, s, p.request())
	if log.String() != "" {
		t.Fatalf("it was found damaged: %s", log)
	}

	// Without a change the memory is what counts: here it says that all are damaged.
	poison(t, s, b.ID)
	p.isAll(t, ensure(t, s, p.request()))
	if got := strings.Count(log.String(), "SHA256 remembered"); got != 3 {
		t.Errorf("%d files were not hashed again, want 3: %s", got, log)
	}
}

func TestVerifyNamesEveryDamagedFile(t *testing.T) {
	t.Parallel()
	p := newInitrdProject(t, "verified")
	s := open(t, baseimage.Options{CacheDir: cacheDir(t)})
	b := ensure(t, s, p.request())
	if err := s.Verify(t.Context(), "verified"); err != nil {
		t.Fatal(err)
	}
	flip(t, b.Rootfs.Path)
	if err := os.Truncate(b.Kernel.Path, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(b.Initrd.Path); err != nil {
		t.Fatal(err)
	}
	err := s.Verify(t.Context(), "verified")
	wantCode(t, err, errcode.BaseImageDamaged)
	wantText(t, err.Error(), "vmlinux: it has 1 bytes", "rootfs.squashfs: it has the SHA256", "initrd.img: it is missing")
	all, err := s.List(t.Context())
	if err != nil || len(all) != 1 || !strings.Contains(all[0].Damaged, "vmlinux") {
		t.Errorf("listed as %+v, error %v", all, err)
	}
}

func TestEnsureReplacesAFileOfSomebodyElse(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	p, log := newProject(t, "stolen"), &journal{}
	s := open(t, baseimage.Options{CacheDir: cacheDir(t), Logger: log.logger()})
	b := ensure(t, s, p.request())
	if err := os.Chown(b.Kernel.Path, 1234, 1234); err != nil {
		t.Fatal(err)
	}
	holds(t, ensure(t, s, p.request()), p.kernel, p.rootfs)
	wantText(t, log.String(), "uid 1234")
}

func TestCacheOfSomebodyElseIsRefused(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	p, cache := newProject(t, "theirs"), cacheDir(t)
	if err := errors.Join(os.Mkdir(cache, 0o700), os.Chown(cache, 1234, 1234)); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, baseimage.Options{CacheDir: cache}).Ensure(t.Context(), p.request())
	wantCode(t, err, errcode.InsecurePath)
}
