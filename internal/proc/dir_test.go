package proc

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDirIsThatOfTheProcessAndOfNoOther(t *testing.T) {
	t.Parallel()
	p := start(t, "exec sleep 1000")
	d, err := OpenDir(p.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	text, err := d.Read("status", 1<<16)
	if err != nil || !strings.Contains(string(text), "\nPid:\t"+strconv.Itoa(p.ID().PID)+"\n") {
		t.Errorf("status %q, %v", text, err)
	}
	if link, err := d.Link("fd/0"); link != os.DevNull || err != nil {
		t.Errorf("fd/0 is %q, %v", link, err)
	}
	if st, err := d.Stat("fd/0"); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Mnt_id == 0 {
		t.Errorf("fd/0 has mode %o on mount %d, %v", st.Mode, st.Mnt_id, err)
	}
	if st, err := d.Lstat("fd/0"); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		t.Errorf("the link fd/0 has mode %o, %v", st.Mode, err)
	}
	if names, err := d.Names("task"); err != nil || len(names) != 1 {
		t.Errorf("threads %v, %v", names, err)
	}
	if _, err := d.Read("status", 10); err == nil {
		t.Error("a file larger than the limit was read")
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read("status", 1<<16); !Gone(err) {
		t.Errorf("after its end: %v, want that it is gone", err)
	}
}

func TestDirOfARecycledPidDoesNotOpen(t *testing.T) {
	t.Parallel()
	id := start(t, "exec sleep 1000").ID()
	ended := start(t, "exit 0")
	wait(t, ended)
	for name, other := range map[string]ID{
		"another start time": {PID: id.PID, StartTime: id.StartTime + 1, BootID: id.BootID},
		"another inode":      {PID: id.PID, Inode: id.Inode + 1, BootID: id.BootID},
		"another boot":       {PID: id.PID, Inode: id.Inode, StartTime: id.StartTime, BootID: "another"},
		"none":               {},
		"ended":              ended.ID(),
	} {
		if d, err := OpenDir(other); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: opened %v, error %v", name, d, err)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("1 (a) b) S 1"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := ParseStat(text); err == nil && (s.Field(3) == "" || s.Field(52) == "") {
			t.Errorf("%q has empty fields", text)
		}
	})
}
