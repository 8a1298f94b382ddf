package e2e_test

import (
	"os"
	"strings"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/lab/guest"
)

func TestGuestWritesToTheDrivesThatItMayWrite(t *testing.T) {
	claims(t, "S3.3", "What a guest writes to a drive with ephemeral: false is in the drive's file, where the next VM reads it")
	claims(t, "S1.2", "A guest can't write to a read-only drive, whose file stays as it is; another VM with the same drive writable can")
	claims(t, "S3.3", "A read-only drive is the file itself, and a copy with ephemeral: true")
	claims(t, "S5.1", "A drive with the cache type Writeback flushes, and with the I/O engine Async it works as well")
	claims(t, "S4.6", "A drive of a running guest is given another file: the guest sees its size and its content, and what it writes is in that file")
	claims(t, "S2.1", "With staging switched off on the manager, writes reach each drive's file, unless the drive says ephemeral: true")
	kept, locked, copied := disk(t, "kept", 1), disk(t, "locked", 1), disk(t, "copied", 1)
	before := sum(t, locked)

	s := newSite(t, smartvm.Options{})
	config := s.config(baseimage.Squashfs)
	b, c, d := drive("kept", kept), drive("locked", locked), drive("copied", copied)
	b.Ephemeral, b.CacheType = new(false), "Writeback"
	c.IsReadOnly, c.IOEngine = true, "Async"
	d.IsReadOnly, d.Ephemeral = true, new(true)
	config.Drives = append(config.Drives, b, c, d, drive("changed", disk(t, "one", 1)))
	vm, g := s.boot(config)
	if got := output(t, g, "cat /sys/block/vd[bc]/queue/write_cache"); got != "write back\nwrite through" {
		t.Errorf("the caches are %q, want only the one of Writeback", got)
	}
	wantWords(t, g, map[string]string{"vdb": "kept", "vdc": "locked", "vdd": "copied"})
	if !writeWord(t, g, "vdb", "first") || word(t, kept) != "first" {
		t.Errorf("a write to the drive that persists does not reach its file, which has %q", word(t, kept))
	}
	if writeWord(t, g, "vdc", "mine") || writeWord(t, g, "vdd", "mine") {
		t.Error("the guest can write to a read-only drive")
	}
	if sum(t, locked) != before {
		t.Error("the file of a read-only drive has changed")
	}
	replaceWord(t, locked, "new")
	replaceWord(t, copied, "new")
	wantWords(t, g, map[string]string{"vdc": "new", "vdd": "copied"})
	two := disk(t, "two", 2)
	must(t, vm.UpdateDrive(patient(t), "changed", two))
	awaitOutput(t, g, "blockdev --getsize64 /dev/vde", "2097152")
	wantWords(t, g, map[string]string{"vde": "two"})
	if !writeWord(t, g, "vde", "three") || word(t, two) != "three" {
		t.Errorf("a write to the drive does not reach its new file, which has %q", word(t, two))
	}
	shutDown(t, vm)

	s = newSite(t, smartvm.Options{PersistWritableDrives: true})
	config = s.config(baseimage.Squashfs)
	b, c, d = drive("kept", kept), drive("locked", locked), drive("copied", copied)
	c.IOEngine, d.Ephemeral = "Async", new(true)
	config.Drives = append(config.Drives, b, c, d)
	vm, g = s.boot(config)
	wantWords(t, g, map[string]string{"vdb": "first", "vdc": "new", "vdd": "new"})
	for _, device := range []string{"vdb", "vdc", "vdd"} {
		if !writeWord(t, g, device, "second") {
			t.Errorf("the guest can't write to %s", device)
		}
	}
	shutDown(t, vm)
	for path, want := range map[string]string{kept: "second", locked: "second", copied: "new"} {
		if got := word(t, path); got != want {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
}

// wantWords compares what the disks of a guest begin with.
func wantWords(t *testing.T, g *guest.Guest, want map[string]string) {
	t.Helper()
	for device, word := range want {
		if got := readWord(t, g, device); got != word {
			t.Errorf("the guest reads %q from %s, want %q", got, device, word)
		}
	}
}

// replaceWord changes what a file begins with.
func replaceWord(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(text + strings.Repeat("\x00", 16))
	must(t, err)
	must(t, f.Close())
}
