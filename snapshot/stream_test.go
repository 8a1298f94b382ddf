package snapshot_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/snapshot"
)

// store opens a store of the test's own.
func store(tb testing.TB) *snapshot.Store {
	tb.Helper()
	return open(tb, filepath.Join(tb.TempDir(), "store"))
}

// content makes bytes that can't be packed.
func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

func write(tb testing.TB, path string, data []byte) {
	tb.Helper()
	must(tb, os.WriteFile(path, data, 0o600))
}

// rich makes a snapshot with a drive of its own and one that it shares, and returns the
// path of that.
func rich(tb testing.TB, s *snapshot.Store, name string) (m *snapshot.Manifest, shared string) {
	tb.Helper()
	shared = filepath.Join(tb.TempDir(), "shared")
	write(tb, shared, content(5000))
	d, err := s.Draft(tb.Context(), name)
	must(tb, err)
	write(tb, d.Path(snapshot.StateFile), content(3000))
	memory := make([]byte, 40*page)
	copy(memory[3*page:], content(2*page))
	copy(memory[20*page+7:], "in the middle")
	write(tb, d.Path(snapshot.MemoryFile), memory)
	write(tb, d.Path(snapshot.DiskFile("own")), content(6*page+100))
	m, err = d.Commit(tb.Context(), snapshot.Manifest{
		Type: snapshot.Full, FirecrackerVersion: firecracker.Version{Major: 1, Minor: 12, Patch: 1},
		VMConfig: []byte(`{"drives":[{"drive_id":"own"},{"drive_id":"shared"}]}`),
		Drives: []snapshot.Drive{
			{ID: "own", RootDevice: true, Copy: snapshot.DiskFile("own"), HostPath: "/gone"},
			{ID: "shared", ReadOnly: true, HostPath: shared},
		},
	})
	must(tb, err)
	return m, shared
}

func export(tb testing.TB, s *snapshot.Store, name string, o snapshot.ExportOptions) []byte {
	tb.Helper()
	var b bytes.Buffer
	must(tb, s.Export(tb.Context(), name, &b, o))
	return b.Bytes()
}

// sameParts compares the files of two snapshots.
func sameParts(tb testing.TB, one, other string, parts ...string) {
	tb.Helper()
	for _, part := range parts {
		a, err := os.ReadFile(filepath.Join(one, part))
		must(tb, err)
		b, err := os.ReadFile(filepath.Join(other, part))
		must(tb, err)
		if !bytes.Equal(a, b) {
			tb.Errorf("%s is another one", part)
		}
	}
}

func blocks(tb testing.TB, path string) int64 {
	tb.Helper()
	var st syscall.Stat_t
	must(tb, syscall.Stat(path, &st))
	return st.Blocks * 512
}

func TestImportedSnapshotIsTheExportedOne(t *testing.T) {
	t.Parallel()
	here, there := store(t), store(t)
	before, shared := rich(t, here, "warm")
	var told int64
	stream := export(t, here, "warm", snapshot.ExportOptions{Progress: func(done, total int64) {
		if done < told || done > total {
			t.Errorf("progress went from %d to %d of %d", told, done, total)
		}
		told = done
	}})
	if want := int64(3000 + 40*page + 6*page + 100); told != want {
		t.Errorf("progress ended at %d, want %d", told, want)
	}
	if len(stream) > 60_000 { // the pages that are not zero, and little else
		t.Errorf("the stream has %d bytes", len(stream))
	}
	after, err := there.Import(t.Context(), iotest.OneByteReader(bytes.NewReader(stream)), "cold")
	must(t, err)
	if after.Name != "cold" || after.ID == before.ID || after.Format != before.Format || after.State.SHA256 != before.State.SHA256 {
		t.Errorf("imported as %+v", after)
	}
	sameParts(t, here.Path("warm"), there.Path("cold"), "state", "memory", "disk-own")
	if n := blocks(t, filepath.Join(there.Path("cold"), "memory")); n > 8*page {
		t.Errorf("the memory takes %d bytes on the disk: holes are lost", n)
	}
	_, err = there.Check(t.Context(), "cold")
	must(t, err)

	// The shared drive is compared with what it was, and may come back.
	data, err := os.ReadFile(shared)
	must(t, err)
	must(t, os.Remove(shared))
	_, err = there.Import(t.Context(), bytes.NewReader(stream), "")
	must(t, err)
	e := wantCode(t, second(there.Check(t.Context(), "warm")), errcode.InvalidSnapshot)
	if len(e.Details) != 1 || e.Details[0].Field != "drive shared" || !strings.Contains(e.Details[0].Message, shared) {
		t.Errorf("got %+v", e.Details)
	}
	write(t, shared, content(5000))
	wantCode(t, second(there.Verify(t.Context(), "warm")), errcode.InvalidSnapshot)
	wantCode(t, second(there.Check(t.Context(), "warm")), errcode.InvalidSnapshot)
	write(t, shared, data)
	_, err = there.Verify(t.Context(), "warm")
	must(t, err)
	_, err = there.Check(t.Context(), "warm")
	must(t, err)
}

func second[T any](_ T, err error) error { return err }

func TestExportedDrivesBecomeTheSnapshotsOwn(t *testing.T) {
	t.Parallel()
	s := store(t)
	_, shared := rich(t, s, "warm")
	data, err := os.ReadFile(shared)
	must(t, err)
	stream := export(t, s, "warm", snapshot.ExportOptions{Drives: true})
	must(t, os.Remove(shared))
	m, err := s.Import(t.Context(), bytes.NewReader(stream), "own")
	must(t, err)
	if d := m.Drives[1]; d.Copy != "disk-shared" || !d.ReadOnly {
		t.Errorf("the drive is %+v", d)
	}
	got, err := os.ReadFile(filepath.Join(s.Path("own"), "disk-shared"))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the drive has other content (%v)", err)
	}
	_, err = s.Check(t.Context(), "own")
	must(t, err)
}

func TestExportedDiffIsWhole(t *testing.T) {
	t.Parallel()
	here, there := store(t), store(t)
	full := put(t, here, "full", nil, 10, map[int][]byte{0: content(page), 5: content(page)})
	diff := put(t, here, "diff", full, 10, map[int][]byte{5: content(page), 7: content(page)})
	m, err := there.Import(t.Context(), bytes.NewReader(export(t, here, "diff", snapshot.ExportOptions{})), "")
	must(t, err)
	if m.Name != "diff" || m.Type != snapshot.Full || m.Parent != nil {
		t.Errorf("imported as %+v", m)
	}
	path, err := here.Memory(t.Context(), diff)
	must(t, err)
	want, err := os.ReadFile(path)
	must(t, err)
	got, err := os.ReadFile(filepath.Join(there.Path("diff"), "memory"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the memory has other content (%v)", err)
	}
	_, err = here.Verify(t.Context(), "diff")
	must(t, err)
}

func TestExportOfAChangedSnapshotHasNoEnd(t *testing.T) {
	t.Parallel()
	s := store(t)
	rich(t, s, "warm")
	whole := export(t, s, "warm", snapshot.ExportOptions{})
	path := filepath.Join(s.Path("warm"), "disk-own")
	for _, injure := range []func(){
		func() { corrupt(t, path) }, // as a disk does, so that the stamp stays
		func() { must(t, os.Truncate(path, 5)) },
		func() { must(t, os.Remove(path)) },
	} {
		injure()
		var b bytes.Buffer
		wantCode(t, s.Export(t.Context(), "warm", &b, snapshot.ExportOptions{}), errcode.InvalidSnapshot)
		if b.Len() >= len(whole) {
			t.Errorf("%d bytes were written, the whole has %d", b.Len(), len(whole))
		}
		wantCode(t, second(store(t).Import(t.Context(), &b, "")), errcode.InvalidSnapshot)
	}
	wantCode(t, s.Export(t.Context(), "none", io.Discard, snapshot.ExportOptions{}), errcode.SnapshotNotFound)
}

// corrupt changes a byte of a file and makes the manifest believe that it did not.
func corrupt(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	data[len(data)/2] ^= 1
	must(t, os.Chmod(path, 0o600))
	write(t, path, data)
	info, err := os.Stat(path)
	must(t, err)
	editManifest(t, filepath.Dir(path), func(m *snapshot.Manifest) {
		for i := range m.Drives {
			if m.Drives[i].Copy == filepath.Base(path) {
				m.Drives[i].File.Stamp = snapshot.Stamp(info)
			}
		}
	})
}

func editManifest(t *testing.T, dir string, edit func(*snapshot.Manifest)) {
	t.Helper()
	path := filepath.Join(dir, snapshot.ManifestFile)
	data, err := os.ReadFile(path)
	must(t, err)
	var m snapshot.Manifest
	must(t, json.Unmarshal(data, &m))
	edit(&m)
	data, err = json.Marshal(m)
	must(t, err)
	write(t, path, data)
}

// member is an entry of a stream that a test makes.
type member struct {
	tar.Header

	data []byte
}

// pack makes a stream.
func pack(tb testing.TB, members ...member) []byte {
	tb.Helper()
	var b bytes.Buffer
	packed, err := zstd.NewWriter(&b)
	must(tb, err)
	archive := tar.NewWriter(packed)
	for _, m := range members {
		h := m.Header
		if h.Size == 0 {
			h.Size = int64(len(m.data))
		}
		must(tb, archive.WriteHeader(&h))
		_, err := archive.Write(m.data)
		must(tb, err)
	}
	must(tb, errors.Join(archive.Close(), packed.Close()))
	return b.Bytes()
}

// honest are the members of a stream that can be imported.
func honest(tb testing.TB, edit func(*snapshot.Manifest)) []member {
	tb.Helper()
	state, memory, disk := []byte("the state"), make([]byte, 3*page), []byte("the disk")
	m := &snapshot.Manifest{
		SchemaVersion: 1, Name: "warm", ID: strings.Repeat("A", 26), Type: snapshot.Full,
		FirecrackerVersion: firecracker.Version{Major: 1, Minor: 12}, VMConfig: []byte(`{"drives":[{"drive_id":"root"}]}`),
		State: file(state), Memory: snapshot.Memory{File: file(memory)},
		Drives: []snapshot.Drive{{ID: "root", Copy: "disk-root", HostPath: "/x", File: file(disk)}},
	}
	if edit != nil {
		edit(m)
	}
	data, err := json.Marshal(m)
	must(tb, err)
	return []member{entry("snapshot.json", data), entry("disk-root", disk), entry("memory", memory), entry("state", state)}
}

func file(data []byte) snapshot.File {
	sum := sha256.Sum256(data)
	return snapshot.File{Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}

func entry(name string, data []byte) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600}, data}
}

func TestHostileStreamsAreRefusedAndLeaveNothing(t *testing.T) {
	t.Parallel()
	good := pack(t, honest(t, nil)...)
	change := func(edit func([]member) []member) []byte { return pack(t, edit(honest(t, nil))...) }
	described := func(edit func(*snapshot.Manifest)) []byte { return pack(t, honest(t, edit)...) }
	typed := func(flag byte, link string) []byte {
		return change(func(m []member) []member {
			m[1] = member{tar.Header{Typeflag: flag, Name: "disk-root", Linkname: link}, nil}
			return m
		})
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-2] ^= 1
	for name, stream := range map[string][]byte{
		"empty":          nil,
		"no zstd":        []byte("hello, I am no stream at all, whatever you think"),
		"no tar":         squeeze(t, bytes.Repeat([]byte("no tar"), 1000)),
		"zeros":          squeeze(t, make([]byte, 10<<20)),
		"no manifest":    change(func(m []member) []member { return m[1:] }),
		"huge manifest":  pack(t, entry("snapshot.json", make([]byte, 5<<20))),
		"wrong checksum": flipped,
		"symbolic link":  typed(tar.TypeSymlink, "/etc/passwd"),
		"hard link":      typed(tar.TypeLink, "snapshot.json"),
		"FIFO":           typed(tar.TypeFifo, ""),
		"directory":      typed(tar.TypeDir, ""),
		"device":         typed(tar.TypeChar, ""),
		"global header": change(func(m []member) []member {
			return append([]member{{tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "x", PAXRecords: map[string]string{"size": "1"}}, nil}}, m...)
		}),
		"outside":           change(func(m []member) []member { m[1].Name = "../disk-root"; return m }),
		"absolute":          change(func(m []member) []member { m[1].Name = "/disk-root"; return m }),
		"unknown name":      change(func(m []member) []member { m[1].Name = "uses/x"; return m }),
		"twice":             change(func(m []member) []member { return append(m, m[1]) }),
		"one more":          change(func(m []member) []member { return append(m, entry("memory.whole", nil)) }),
		"one less":          change(func(m []member) []member { return m[:3] }),
		"another order":     change(func(m []member) []member { m[1], m[2] = m[2], m[1]; return m }),
		"longer":            change(func(m []member) []member { m[1].data = []byte("the disk and more"); return m }),
		"shorter":           change(func(m []member) []member { m[1].data = []byte("the"); return m }),
		"other content":     change(func(m []member) []member { m[1].data = []byte("the dish"); return m }),
		"other memory":      change(func(m []member) []member { m[2].data = append(make([]byte, 3*page-1), 1); return m }),
		"no hash":           described(func(m *snapshot.Manifest) { m.Memory.SHA256 = "" }),
		"bad hash":          described(func(m *snapshot.Manifest) { m.Memory.SHA256 = "../x" }),
		"negative size":     described(func(m *snapshot.Manifest) { m.Memory.Size = -1 }),
		"endless":           described(func(m *snapshot.Manifest) { m.Memory.Size = 1 << 62 }),
		"huge state":        described(func(m *snapshot.Manifest) { m.State.Size = 1 << 40 }),
		"diff":              described(func(m *snapshot.Manifest) { m.Type, m.Parent = snapshot.Diff, &snapshot.Parent{Name: "warm", ID: m.ID} }),
		"bad name":          described(func(m *snapshot.Manifest) { m.Name = "../x" }),
		"copy elsewhere":    described(func(m *snapshot.Manifest) { m.Drives[0].Copy = "disk-x" }),
		"drive of a path":   described(func(m *snapshot.Manifest) { m.Drives[0].ID, m.Drives[0].Copy = "../x", "disk-../x" }),
		"two drives of one": described(func(m *snapshot.Manifest) { m.Drives = append(m.Drives, m.Drives[0]) }),
		"unknown drive": described(func(m *snapshot.Manifest) {
			m.VMConfig = []byte(`{"drives":[{"drive_id":"shadow","path_on_host":"/etc/shadow"}]}`)
		}),
		"pmem": described(func(m *snapshot.Manifest) { m.VMConfig = []byte(`{"pmem":[{"id":"p","path_on_host":"/etc/shadow"}]}`) }),
		"TAP": described(func(m *snapshot.Manifest) {
			m.VMConfig = []byte(`{"network-interfaces":[{"iface_id":"eth0","host_dev_name":"tap0"}]}`)
		}),
		"namespace":        described(func(m *snapshot.Manifest) { m.VMConfig = []byte(`{"jail":{"netns":"/run/netns/x"}}`) }),
		"vhost-user drive": described(func(m *snapshot.Manifest) { m.VMConfig = []byte(`{"drives":[{"drive_id":"root","socket":"/run/x"}]}`) }),
		"unknown vsock":    described(func(m *snapshot.Manifest) { m.VMConfig = []byte(`{"vsock":{"guest_cid":3}}`) }),
		"no config":        described(func(m *snapshot.Manifest) { m.VMConfig = nil }),
		"written in place": described(func(m *snapshot.Manifest) { m.Drives[0].Copy = "" }),
		"socket above":     described(func(m *snapshot.Manifest) { m.Vsock = &snapshot.Vsock{SocketName: ".."} }),
		"socket elsewhere": described(func(m *snapshot.Manifest) { m.Vsock = &snapshot.Vsock{SocketName: "/x"} }),
		"goes on":          append(bytes.Clone(good), squeeze(t, make([]byte, 1<<20))...),
		"followed by junk": append(bytes.Clone(good), "junk"...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := store(t)
			m, err := s.Import(t.Context(), bytes.NewReader(stream), "")
			if errcode.Of(err, "") != errcode.InvalidSnapshot {
				t.Fatalf("got %+v, error %v", m, err)
			}
			left, err := filepath.Glob(filepath.Join(s.Dir(), "*"))
			if err != nil || len(left) > 1 || len(left) == 1 && filepath.Base(left[0]) != ".lock" {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
	m, err := store(t).Import(t.Context(), bytes.NewReader(good), "")
	if err != nil || m.Name != "warm" {
		t.Errorf("the honest one: %v", err)
	}
}

// squeeze packs bytes that are no tar.
func squeeze(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	must(tb, err)
	_, err = w.Write(data)
	must(tb, errors.Join(err, w.Close()))
	return b.Bytes()
}

func TestStreamCutAnywhereIsRefused(t *testing.T) {
	t.Parallel()
	good, s := pack(t, honest(t, nil)...), store(t)
	for n := range good {
		if m, err := s.Import(t.Context(), bytes.NewReader(good[:n]), ""); errcode.Of(err, "") != errcode.InvalidSnapshot {
			t.Fatalf("cut to %d of %d bytes: got %+v, error %v", n, len(good), m, err)
		}
	}
	if all, err := s.List(); err != nil || len(all) > 0 {
		t.Errorf("listed: %v, %v", all, err)
	}
}

func TestImportTellsWhyItsStreamCantBeRead(t *testing.T) {
	t.Parallel()
	good, s := pack(t, honest(t, nil)...), store(t)
	gone := errors.New("the line is dead")
	_, err := s.Import(t.Context(), io.MultiReader(bytes.NewReader(good[:len(good)/2]), iotest.ErrReader(gone)), "")
	if !errors.Is(err, gone) || errcode.Of(err, "") != errcode.SnapshotFailed {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = s.Import(ctx, bytes.NewReader(good), ""); !errors.Is(err, context.Canceled) || errcode.Of(err, "") != errcode.Cancelled {
		t.Errorf("got %v", err)
	}
	_, err = s.Import(t.Context(), bytes.NewReader(good), "")
	must(t, err)
	wantCode(t, second(s.Import(t.Context(), bytes.NewReader(good), "")), errcode.SnapshotExists)
	wantCode(t, second(s.Import(t.Context(), bytes.NewReader(good), "../x")), errcode.InvalidConfig)
}

func TestWhatIsOfOneHostIsNotExported(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	for name, config := range map[string]string{
		"tap": `{"network-interfaces":[{"iface_id":"eth0","host_dev_name":"tap0"}]}`, "netns": `{"jail":{"netns":"/run/netns/x"}}`, "pmem": `{"pmem":[{"id":"p"}]}`,
	} {
		d, err := s.Draft(t.Context(), name)
		must(t, err)
		must(t, os.WriteFile(d.Path(snapshot.StateFile), []byte("state"), 0o600))
		must(t, os.WriteFile(d.Path(snapshot.MemoryFile), []byte("memory"), 0o600))
		_, err = d.Commit(t.Context(), snapshot.Manifest{
			Type: snapshot.Full, FirecrackerVersion: firecracker.Version{Major: 1, Minor: 12, Patch: 1}, VMConfig: []byte(config),
		})
		must(t, err)
		var out bytes.Buffer
		if e := wantCode(t, s.Export(t.Context(), name, &out, snapshot.ExportOptions{}), errcode.InvalidConfig); out.Len() > 0 || e == nil {
			t.Errorf("%s: %d bytes are written", name, out.Len())
		}
	}
}
