package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/vmconfig"
)

// disk makes an image that begins with a word, and returns its path.
func disk(t *testing.T, word string, mib int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(path, []byte(word), 0o600))
	must(t, os.Truncate(path, mib<<20))
	// The lab's kernel can't map owners on a tmpfs, so that a drive which persists has to
	// let a jail's user write by its mode.
	must(t, os.Chmod(path, 0o666))
	return path
}

// word is what a file begins with, up to the first zero.
func word(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	var block [512]byte
	_, err = f.Read(block[:])
	must(t, err)
	before, _, _ := strings.Cut(string(block[:]), "\x00")
	return before
}

// drive is one that smartvm treats as it does by default.
func drive(id, path string) vmconfig.Drive {
	return vmconfig.Drive{Drive: firecracker.Drive{DriveID: id, PathOnHost: path}}
}

// readWord reads what a disk of the guest begins with, past the guest's cache.
func readWord(t *testing.T, g *guest.Guest, device string) string {
	t.Helper()
	return output(t, g, fmt.Sprintf("dd if=/dev/%s bs=512 count=1 iflag=direct status=none | tr -d '\\0'", device))
}

// writeWord writes a word to the beginning of a disk of the guest, and reports
// whether the guest could.
func writeWord(t *testing.T, g *guest.Guest, device, text string) bool {
	t.Helper()
	result, err := g.Run(patient(t), fmt.Sprintf("echo -n %s | dd of=/dev/%s bs=512 conv=sync,fsync", text, device))
	must(t, err)
	if result.Code == 0 && readWord(t, g, device) != text {
		t.Errorf("%s does not have what was written to it", device)
	}
	return result.Code == 0
}

// awaitOutput asks the guest until it answers as it should, which it does once its kernel
// has heard of a change.
func awaitOutput(t *testing.T, g *guest.Guest, command, want string) {
	t.Helper()
	ctx := patient(t)
	for last := ""; ; {
		got, err := g.Output(ctx, command)
		switch {
		case err != nil:
			t.Fatalf("%v; %q gave %q, want %q", err, command, last, want)
		case got == want:
			return
		}
		last = got
	}
}
