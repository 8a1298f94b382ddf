package privdir_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/privdir"
)

// must stops the test where its preparation fails.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// mkdir makes a directory of exactly that mode and owner.
func mkdir(t *testing.T, path string, mode os.FileMode, uid int) {
	t.Helper()
	must(t, os.Mkdir(path, 0o700), os.Chmod(path, mode), os.Lchown(path, uid, -1))
}

func ensure(t *testing.T, path string) *privdir.Dir {
	t.Helper()
	dir, err := privdir.Ensure(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, dir.Close()) })
	return dir
}

func TestEnsureMakesEachComponentPrivate(t *testing.T) {
	base := t.TempDir()
	old := unix.Umask(0)
	dir := ensure(t, base+"/a/b/../b//c/")
	unix.Umask(old)
	if want := base + "/a/b/c"; dir.Path() != want || dir.Root().Name() != want {
		t.Errorf("path is %s, root %s, want %s", dir.Path(), dir.Root().Name(), want)
	}
	for _, made := range []string{"a", "a/b", "a/b/c"} {
		info, err := os.Stat(filepath.Join(base, made))
		if err != nil || info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("%s: %v, %v", made, info, err)
		}
	}
	again := ensure(t, base+"/a/b/c")
	if _, err := again.Root().Stat("."); err != nil {
		t.Error(err)
	}
}

func TestOpenMakesNothing(t *testing.T) {
	base := t.TempDir()
	_, err := privdir.Open(base + "/a/b")
	if !errors.Is(err, errcode.DirectoryFailed) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if list, err := os.ReadDir(base); err != nil || len(list) != 0 {
		t.Errorf("made %v, %v", list, err)
	}
	must(t, os.Mkdir(base+"/a", 0o700))
	dir, err := privdir.Open(base + "/a")
	if err != nil {
		t.Fatal(err)
	}
	must(t, dir.Close())
}

func TestRelativePathStartsAtTheWorkingDirectory(t *testing.T) {
	base := t.TempDir()
	t.Chdir(base)
	if got, want := ensure(t, "x/../y/z").Path(), base+"/y/z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := os.Stat(base + "/x"); err == nil {
		t.Error("made a directory that .. had taken back")
	}
}

func TestReadersAreAcceptedAndTheModeIsLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d")
	mkdir(t, path, 0o755, -1)
	ensure(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}

func TestWhatOthersMayWriteIsRefused(t *testing.T) {
	tests := map[string]struct {
		mode    os.FileMode
		asFinal bool // accepted as the directory itself
		asWay   bool // accepted on the way
	}{
		"private":          {0o700, true, true},
		"group reads":      {0o750, true, true},
		"group writes":     {0o770, false, false},
		"others write":     {0o702, false, false},
		"all write":        {0o777, false, false},
		"sticky":           {0o777 | fs.ModeSticky, false, true},
		"sticky for group": {0o770 | fs.ModeSticky, false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "d")
			mkdir(t, path, tt.mode, -1)
			for asked, accepted := range map[string]bool{path: tt.asFinal, path + "/new": tt.asWay} {
				dir, err := privdir.Ensure(asked)
				if accepted {
					if err != nil {
						t.Fatal(err)
					}
					must(t, dir.Close())
					continue
				}
				checkInsecure(t, err, asked, path)
			}
			if _, err := os.Stat(path + "/new"); (err == nil) != tt.asWay {
				t.Errorf("below it: %v", err)
			}
		})
	}
}

// checkInsecure demands that an error names the component and the way out.
func checkInsecure(t *testing.T, err error, asked, component string) {
	t.Helper()
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != errcode.InsecurePath || e.Subject != asked {
		t.Errorf("%s: got %v, want %s", asked, err, errcode.InsecurePath)
		return
	}
	if len(e.Details) != 2 || e.Details[0].Message != component {
		t.Errorf("%s: details are %v, want the component %s", asked, e.Details, component)
	}
	var st unix.Stat_t
	must(t, unix.Lstat(component, &st))
	for _, want := range []string{
		component, fmt.Sprintf("owner uid %d", st.Uid), fmt.Sprintf("mode %04o", st.Mode&0o7777),
		"SMARTVM_DATA_DIR", "SMARTVM_RUNTIME_DIR", "chown", "chmod",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestDirectoryOfSomebodyElseIsRefused(t *testing.T) {
	needRoot(t)
	base := t.TempDir()
	mkdir(t, base+"/planted", 0o700, stranger)
	checkInsecure(t, second(privdir.Ensure(base+"/planted")), base+"/planted", base+"/planted")
	checkInsecure(t, second(privdir.Open(base+"/planted/x")), base+"/planted/x", base+"/planted")
	checkInsecure(t, second(privdir.Ensure(base+"/planted/x")), base+"/planted/x", base+"/planted")
	if list, err := os.ReadDir(base + "/planted"); err != nil || len(list) != 0 {
		t.Errorf("made %v, %v", list, err)
	}
}

func second(_ *privdir.Dir, err error) error { return err }

func TestDirectoryOfRootIsOnlyAWayForOthers(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("for the run without root")
	}
	checkInsecure(t, second(privdir.Ensure("/usr")), "/usr", "/usr")
	err := second(privdir.Ensure("/usr/smartvm-test"))
	if !errors.Is(err, errcode.DirectoryFailed) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

func TestOwnLinkIsFollowedAndResolved(t *testing.T) {
	base := t.TempDir()
	mkdir(t, base+"/real", 0o700, -1)
	mkdir(t, base+"/deep", 0o700, -1)
	must(t,
		os.Symlink("real", base+"/relative"),
		os.Symlink(base+"/real", base+"/absolute"),
		os.Symlink("../relative", base+"/deep/up"),
	)
	for _, link := range []string{"relative", "absolute", "deep/up"} {
		for _, below := range []string{"", "/x/y"} {
			if got, want := ensure(t, base+"/"+link+below).Path(), base+"/real"+below; got != want {
				t.Errorf("%s%s leads to %s, want %s", link, below, got, want)
			}
		}
	}
}

func TestLinkIntoAWritableDirectoryIsRefused(t *testing.T) {
	base := t.TempDir()
	mkdir(t, base+"/open", 0o777, -1)
	must(t, os.Symlink("open", base+"/link"))
	checkInsecure(t, second(privdir.Ensure(base+"/link/x")), base+"/link/x", base+"/open")
}

func TestLinkOfSomebodyElseIsNotFollowed(t *testing.T) {
	needRoot(t)
	base := t.TempDir()
	mkdir(t, base+"/tmp", 0o777|fs.ModeSticky, -1)
	mkdir(t, base+"/victim", 0o700, -1)
	link := base + "/tmp/link"
	must(t, os.Symlink(base+"/victim", link), os.Lchown(link, stranger, stranger))
	for _, asked := range []string{link, link + "/x"} {
		checkInsecure(t, second(privdir.Ensure(asked)), asked, link)
	}
	if list, err := os.ReadDir(base + "/victim"); err != nil || len(list) != 0 {
		t.Errorf("made %v, %v", list, err)
	}
}

func TestUnusablePathsAreDirectoryFailed(t *testing.T) {
	base := t.TempDir()
	must(t,
		os.WriteFile(base+"/file", nil, 0o600),
		os.Symlink("loop", base+"/loop"),
		os.Symlink("missing/x", base+"/dangling"),
	)
	tests := map[string]error{
		base + "/file":                             unix.ENOTDIR,
		base + "/file/x":                           unix.ENOTDIR,
		base + "/loop/x":                           unix.ELOOP,
		base + "/" + strings.Repeat("n", 300):      unix.ENAMETOOLONG,
		base + "/nul\x00byte":                      unix.EINVAL,
		"/proc/smartvm-can-not-make-a-directory/x": unix.ENOENT,
	}
	for path, want := range tests {
		err := second(privdir.Ensure(path))
		if !errors.Is(err, errcode.DirectoryFailed) || !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", path, err, want)
		}
	}
	if err := second(privdir.Ensure("")); !errors.Is(err, errcode.DirectoryFailed) {
		t.Errorf("empty path: %v", err)
	}
	// A dangling link of our own is a missing directory like others.
	if got, want := ensure(t, base+"/dangling").Path(), base+"/missing/x"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestReadOnlyAndFullFileSystemsAreDirectoryFailed(t *testing.T) {
	if !alone(t) {
		return
	}
	readOnly := mountTmpfs(t, unix.MS_RDONLY, "mode=700")
	full := mountTmpfs(t, 0, "mode=700,nr_inodes=2")
	ensure(t, full+"/last")
	for path, want := range map[string]error{readOnly + "/x": unix.EROFS, full + "/x": unix.ENOSPC} {
		err := second(privdir.Ensure(path))
		e, ok := errors.AsType[*errcode.Error](err)
		if !ok || e.Code != errcode.DirectoryFailed || !errors.Is(err, want) || e.Hint == "" {
			t.Errorf("got %v, want %v and a hint", err, want)
		}
	}
}

func TestIsTmpfsWantsAUsableOne(t *testing.T) {
	if privdir.IsTmpfs("/proc") || privdir.IsTmpfs("/missing") || privdir.IsTmpfs("/proc/self/status") {
		t.Error("takes something else for a tmpfs")
	}
	if !alone(t) {
		return
	}
	mine, sticky := mountTmpfs(t, 0, "mode=700"), mountTmpfs(t, 0, "mode=1777")
	theirs, open := mountTmpfs(t, 0, "mode=700,uid=12345"), mountTmpfs(t, 0, "mode=777")
	readOnly := mountTmpfs(t, unix.MS_RDONLY, "mode=700")
	for path, want := range map[string]bool{mine: true, sticky: true, theirs: false, open: false, readOnly: false} {
		if got := privdir.IsTmpfs(path); got != want {
			t.Errorf("IsTmpfs = %v, want %v", got, want)
		}
	}
}

func TestOpenOwnedDemandsThatOwner(t *testing.T) {
	const somebody = 12345
	if os.Getuid() != 0 {
		t.Skip("needs root, to make directories of others")
	}
	base := t.TempDir()
	for name, tt := range map[string]struct {
		owner int
		mode  os.FileMode
		want  bool
	}{
		"his":          {somebody, 0o755, true},
		"ours":         {0, 0o755, false},
		"others write": {somebody, 0o757, false},
	} {
		path := filepath.Join(base, name)
		mkdir(t, path, tt.mode, tt.owner)
		dir, err := privdir.OpenOwned(path, somebody)
		if (err == nil) != tt.want || err != nil && !errors.Is(err, errcode.InsecurePath) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			must(t, dir.Close())
		}
	}
}
