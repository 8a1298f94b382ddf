package snapshot_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/snapshot"
)

func TestParseManifestReportsEveryMistakeWithItsField(t *testing.T) {
	t.Parallel()
	_, err := snapshot.ParseManifest([]byte(`{"schemaVersion": 2, "name": "../x", "id": "x", "type": "diff", "vmConfig": {"drives": [{"drive_id": "b"}]},
		"state": {"size": -1}, "memory": {"sha256": "X"},
		"drives": [{"id": "a", "copy": "disk-b", "hostPath": "x"}, {"id": "a", "hostPath": "/x"}, {"id": "a/b", "readOnly": true, "hostPath": "/x"}],
		"vsock": {"socketName": "."}}`))
	e := wantCode(t, err, errcode.InvalidSnapshot)
	var fields []string
	for _, d := range e.Details {
		fields = append(fields, d.Field)
	}
	want := []string{
		"schemaVersion", "name", "id", "parent", "firecrackerVersion", "state.size", "memory.sha256",
		"drives[0].copy", "drives[0].hostPath", "drives[1].copy", "drives[1].id", "drives[2].id", "vmConfig", "vsock.socketName",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Error(diff)
	}
}

func TestManifestsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	good, err := json.Marshal(manifest(t))
	must(t, err)
	if _, err := snapshot.ParseManifest(good); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"empty": "", "null": "null", "list": "[]", "cut": string(good[:len(good)-1]), "two": string(good) + "{}",
		"unknown key": strings.Replace(string(good), "{", `{"more": 1,`, 1), "deep": strings.Repeat("[", 100_000),
	} {
		if m, err := snapshot.ParseManifest([]byte(data)); errcode.Of(err, "") != errcode.InvalidSnapshot {
			t.Errorf("%s: got %+v, error %v", name, m, err)
		}
	}
}

func manifest(tb testing.TB) *snapshot.Manifest {
	tb.Helper()
	m, err := snapshot.ParseManifest(honest(tb, nil)[0].data)
	must(tb, err)
	return m
}

func FuzzParseManifest(f *testing.F) {
	f.Add(honest(f, nil)[0].data)
	f.Add(honest(f, func(m *snapshot.Manifest) {
		m.Type, m.Parent = snapshot.Diff, &snapshot.Parent{Name: "x", ID: m.ID}
		m.Vsock, m.MMDS = &snapshot.Vsock{CID: 3, SocketName: "v.sock"}, []byte(`{"a": [1]}`)
		m.Interfaces = []snapshot.Interface{{ID: "eth0", HostDevice: "tap0", Made: true, GuestMAC: "06:00:00:00:00:01"}}
	})[0].data)
	f.Add([]byte(`{"drives": [{"id": "..", "copy": "disk-..", "hostPath": "/"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := snapshot.ParseManifest(data)
		if err != nil {
			wantCode(t, err, errcode.InvalidSnapshot)
			return
		}
		for _, d := range m.Drives {
			if d.Copy != "" && (filepath.Base(d.Copy) != d.Copy || d.Copy == "memory" || d.Copy == "state" || d.Copy == "snapshot.json") {
				t.Errorf("drive %q is copied to %q", d.ID, d.Copy)
			}
		}
		if filepath.Base(m.Name) != m.Name || m.Name[0] == '.' {
			t.Errorf("named %q", m.Name)
		}
		again, err := json.Marshal(m)
		must(t, err)
		second, err := snapshot.ParseManifest(again)
		if err != nil {
			t.Fatalf("what it writes it does not read: %v\n%s", err, again)
		}
		if diff := cmp.Diff(normal(t, m), normal(t, second)); diff != "" {
			t.Error(diff)
		}
	})
}

// normal is a manifest as text, in which raw JSON has one form.
func normal(t *testing.T, m *snapshot.Manifest) string {
	t.Helper()
	data, err := json.Marshal(m)
	must(t, err)
	return string(data)
}

func TestListLeavesOutWhatIsBroken(t *testing.T) {
	t.Parallel()
	s := store(t)
	put(t, s, "good", nil, 1, nil)
	for name, injure := range map[string]func(manifest string) error{
		"garbage":   func(path string) error { return os.WriteFile(path, []byte("{]"), 0o600) },
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"huge":      func(path string) error { return os.Truncate(path, 1<<40) },
		"missing":   os.Remove,
		"link":      func(path string) error { must(t, os.Remove(path)); return os.Symlink("/etc/passwd", path) },
		"directory": func(path string) error { must(t, os.Remove(path)); return os.Mkdir(path, 0o700) },
		"another":   func(path string) error { return os.Rename(filepath.Join(s.Path("good"), "copy"), path) },
	} {
		put(t, s, name, nil, 1, nil)
		data, err := os.ReadFile(filepath.Join(s.Path("good"), snapshot.ManifestFile))
		must(t, err)
		write(t, filepath.Join(s.Path("good"), "copy"), data)
		must(t, injure(filepath.Join(s.Path(name), snapshot.ManifestFile)))
		want := errcode.InvalidSnapshot
		if name == "missing" {
			want = errcode.SnapshotNotFound
		}
		wantCode(t, second(s.Check(t.Context(), name)), want)
	}
	write(t, filepath.Join(s.Dir(), "file"), nil)
	must(t, os.Mkdir(filepath.Join(s.Dir(), "lost+found"), 0o700))
	all, err := s.List()
	if err != nil || len(all) != 1 || all[0].Name != "good" {
		t.Errorf("listed: %v, %v", all, err)
	}
	// They can be removed all the same.
	must(t, s.Remove(t.Context(), "garbage"))
	wantCode(t, s.Remove(t.Context(), "lost+found"), errcode.SnapshotNotFound)
}

func TestFitsNamesEveryDifference(t *testing.T) {
	t.Parallel()
	here, err := snapshot.ThisHost()
	must(t, err)
	if here.CPUVendor == "" || here.Kernel == "" || len(here.CPUFlags) == 0 {
		t.Errorf("this host is %+v", here)
	}
	m := manifest(t)
	m.Host = here
	must(t, m.Fits(here))
	m.Host.Kernel = "another"
	must(t, m.Fits(here))
	there := snapshot.Host{Arch: "sparc", CPUVendor: "Sun", CPUFamily: "9", CPUModel: "T1", CPUFlags: []string{here.CPUFlags[0], "zz1", "zz2"}}
	m.Host = there
	e := wantCode(t, m.Fits(here), errcode.SnapshotMismatch)
	var fields []string
	for _, d := range e.Details {
		fields = append(fields, d.Field)
	}
	if diff := cmp.Diff([]string{"host.arch", "host.cpuVendor", "host.cpuFamily", "host.cpuModel", "host.cpuFlags"}, fields); diff != "" {
		t.Error(diff)
	}
	if last := e.Details[len(e.Details)-1].Message; !strings.Contains(last, "zz1 zz2") || strings.Contains(last, here.CPUFlags[0]+" ") {
		t.Errorf("got %q", last)
	}
}
