package mountinfo_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/mountinfo"
)

const list = `22 27 0:21 / /proc rw,relatime - proc none rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 27 0:27 / /dev/shm rw,nosuid,nodev shared:3 master:1 - tmpfs shm rw,size=64k
31 27 254:0 /srv/my\040disk /mnt ro,noexec - ext4 /dev/vda rw
32 27 0:40 / /mnt rw - tmpfs over rw
33 27 0:41 /a\134b /with\011tab rw - tmpfs other rw
`

func parse(t *testing.T, text string) []mountinfo.Mount {
	t.Helper()
	mounts, err := mountinfo.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return mounts
}

func TestFieldsAreWhatTheKernelWrote(t *testing.T) {
	t.Parallel()
	mounts := parse(t, list)
	want := mountinfo.Mount{
		ID: 30, Device: "0:27", Root: "/", Point: "/dev/shm", Options: []string{"rw", "nosuid", "nodev"},
		Kind: "tmpfs", Source: "shm", Super: []string{"rw", "size=64k"},
	}
	if diff := cmp.Diff(want, mounts[2]); diff != "" {
		t.Error(diff)
	}
	if mounts[3].Root != "/srv/my disk" || mounts[5].Root != `/a\b` || mounts[5].Point != "/with\ttab" {
		t.Errorf("escapes are not undone: %+v", mounts)
	}
	if m := mounts[2]; !m.Has("nosuid") || m.Has("noexec") || m.SuperHas("nosuid") || !m.SuperHas("rw") || m.SuperValue("size") != "64k" || m.SuperValue("rw") != "" {
		t.Errorf("options of %+v", m)
	}
}

func TestAtIsTheDeepestAndNewestMount(t *testing.T) {
	t.Parallel()
	mounts := parse(t, list)
	for name, want := range map[string]string{
		"/": "/dev/vda", "/etc/passwd": "/dev/vda", "/dev/shm": "shm", "/dev/shm/a": "shm", "/dev/shmother": "/dev/vda", "/mnt/x": "over",
	} {
		if m, found := mountinfo.At(mounts, name); !found || m.Source != want {
			t.Errorf("%s is on %q, want %q", name, m.Source, want)
		}
	}
	if m, found := mountinfo.At(nil, "/"); found {
		t.Errorf("found %+v among none", m)
	}
}

func TestFindSaysWhereADirectoryOfAFileSystemIs(t *testing.T) {
	t.Parallel()
	mounts := parse(t, list)
	for _, tt := range []struct{ device, dir, want string }{
		{"254:0", "/srv/web", "/srv/web"},
		{"0:27", "/vms/web/root", "/dev/shm/vms/web/root"},
		{"0:27", "/", "/dev/shm"},
		{"0:41", `/a\b/c`, "/with\ttab/c"},
		{"0:41", "/other", ""},
		{"9:9", "/", ""},
	} {
		if got := mountinfo.Find(mounts, tt.device, tt.dir); got != tt.want {
			t.Errorf("%s of %s is at %q, want %q", tt.dir, tt.device, got, tt.want)
		}
	}
}

func TestOtherFormsAreErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"\n", "27 1 254:0 / / rw", "x 1 254:0 / / rw - ext4 d rw", "27 1 254:0 / / - ext4 d rw", "27 1 254:0 / / rw - ext4 d"} {
		if mounts, err := mountinfo.Parse(strings.NewReader(text)); err == nil {
			t.Errorf("%q is %+v", text, mounts)
		}
	}
}

func TestOwnListHasARoot(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Skip("there is no /proc: ", err)
	}
	if m, found := mountinfo.At(parse(t, string(text)), "/"); !found || m.Point != "/" {
		t.Errorf("the root is on %+v", m)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(list)
	f.Add("1 2 3 \\04 / rw - a b c\n")
	f.Fuzz(func(t *testing.T, text string) {
		mounts, err := mountinfo.Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		mountinfo.At(mounts, "/a/b")
		for _, m := range mounts {
			if len(m.Root) > len(text) || len(m.Options) == 0 {
				t.Errorf("%q is %+v", text, m)
			}
		}
	})
}
