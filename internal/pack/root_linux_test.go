package pack_test

import (
	"archive/tar"
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/pack"
)

// owners makes a tar of a root directory and n files, all of other users.
func owners(t *testing.T, root, n int) *pack.Source {
	t.Helper()
	xattrs := file("xattrs")
	xattrs.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b"}
	headers := []tar.Header{xattrs}
	for i := range n {
		h := file(strconv.Itoa(i))
		h.Uid, h.Gid = 100_000+i, 100_000+i
		headers = append(headers, h)
	}
	// A directory may be described after what is in it, the root too.
	headers = append(headers, tar.Header{
		Typeflag: tar.TypeDir, Name: "./", Mode: 0o2751, Uid: root, Gid: root, ModTime: time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC),
	})
	return pack.Tar("test", bytes.NewReader(archive(t, headers...)))
}

// sqfstar gives the root directory to whoever runs it, so this test says the most
// where it runs without root.
func TestRootDirectoryOfSquashfsIsThatOfTheSource(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Tool("sqfstar"), hosttest.Tool("unsquashfs"))
	for _, tt := range []struct{ root, others int }{
		{0, 0}, {100_001, 2}, {5, 0}, {5, 3}, {1<<32 - 2, 2000}, {100_000, 3000},
	} {
		path := image(t, owners(t, tt.root, tt.others), pack.Options{Format: pack.Squashfs})
		out, err := exec.CommandContext(t.Context(), "unsquashfs", "-lln", "-UTC", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		got := strings.Join(strings.Fields(lines[0]), " ")
		id := strconv.Itoa(tt.root)
		if !strings.HasPrefix(got, "drwxr-s--x "+id+"/"+id+" ") || !strings.Contains(got, " 2001-02-03 04:05 ") || len(lines) != tt.others+2 {
			t.Errorf("root of user %d and %d others: got %d lines, the first is %s", tt.root, tt.others, len(lines), got)
		}
	}
}

func TestRootDirectoryOfOneOfTooManyUsersIsRefused(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Tool("sqfstar"))
	e := fails(t, t.Context(), owners(t, 5, 3000), pack.Options{Format: pack.Squashfs}, errcode.RootfsCreateFailed)
	if !strings.Contains(e.Error(), "id 5,") {
		t.Errorf("got %v", e)
	}
}
