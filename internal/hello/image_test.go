package hello

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRecordedDigestsMatch notices a stale image where there are no binutils: an edited, new or lost source changes the list.
func TestRecordedDigestsMatch(t *testing.T) {
	t.Parallel()
	recorded, err := os.ReadFile("guest/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("guest/*")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range names {
		if filepath.Base(name) == "SHA256SUMS" {
			continue
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		got[filepath.Base(name)] = hex.EncodeToString(sum[:])
	}
	want := map[string]string{}
	for line := range strings.Lines(string(recorded)) {
		if fields := strings.Fields(line); len(fields) == 2 {
			want[fields[1]] = fields[0]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("source and image differ from what go generate recorded; run go generate ./internal/hello (-recorded +found):\n%s", diff)
	}
	if got["hello.elf"] != Digest() {
		t.Errorf("Digest() = %s, the file has %s", Digest(), got["hello.elf"])
	}
}

func TestImageMatchesSource(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"as", "ld"} {
		if _, err := exec.LookPath(tool); err != nil || runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
			t.Skipf("needs %s for x86_64: install the package binutils", tool)
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command("guest/build.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("build.sh: %v\n%s", err, out)
	}
	built, err := os.ReadFile(filepath.Join(dir, "hello.elf"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(built, Image()) {
		t.Error("the embedded image is not what its source builds; run go generate ./internal/hello")
	}
}

func TestImageIsAnExecutableOfAFewKiB(t *testing.T) {
	t.Parallel()
	file, err := elf.NewFile(bytes.NewReader(Image()))
	if err != nil {
		t.Fatal(err)
	}
	if file.Machine != elf.EM_X86_64 || file.Type != elf.ET_EXEC || len(file.Progs) != 1 {
		t.Errorf("machine %v, type %v, %d program headers", file.Machine, file.Type, len(file.Progs))
	}
	if load := file.Progs[0]; load.Filesz != uint64(len(Image())) || load.Paddr != 0x100000 {
		t.Errorf("loads %d of %d bytes at %#x", load.Filesz, len(Image()), load.Paddr)
	}
	if size := len(Image()); size > 8<<10 {
		t.Errorf("image has %d bytes", size)
	}
}

func TestCallersCannotChangeTheImage(t *testing.T) {
	t.Parallel()
	before := Digest()
	clear(Image())
	if Digest() != before {
		t.Error("Image() is not a copy")
	}
}

func TestSpinHostTakesLongerForMoreLoops(t *testing.T) {
	t.Parallel()
	few, err := SpinHost(1)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("needs amd64")
	}
	if err != nil {
		t.Fatal(err)
	}
	many, err := SpinHost(10_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if many <= few {
		t.Errorf("1 loop took %v, 10 million %v", few, many)
	}
	if _, err := SpinHost(0); err != nil {
		t.Error(err)
	}
}
