package snapshot

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

// Host is the part of a machine that a guest can tell from another one. Firecracker wants
// the same on both sides of a snapshot, and checks nothing but the CPU's vendor, for a
// line in its log (docs/snapshotting/versioning.md).
type Host struct {
	Arch      string   `json:"arch"` // x86_64 or aarch64
	CPUVendor string   `json:"cpuVendor"`
	CPUFamily string   `json:"cpuFamily,omitempty"`
	CPUModel  string   `json:"cpuModel"`
	CPUName   string   `json:"cpuName,omitempty"`
	CPUFlags  []string `json:"cpuFlags,omitempty"` // sorted
	Kernel    string   `json:"kernel"`             // release
}

// fields are the lines of /proc/cpuinfo, of x86 and of arm64.
var fields = map[string]func(h *Host, value string){
	"vendor_id":       func(h *Host, v string) { h.CPUVendor = v },
	"CPU implementer": func(h *Host, v string) { h.CPUVendor = v },
	"cpu family":      func(h *Host, v string) { h.CPUFamily = v },
	"CPU variant":     func(h *Host, v string) { h.CPUFamily = v },
	"model":           func(h *Host, v string) { h.CPUModel = v },
	"CPU part":        func(h *Host, v string) { h.CPUModel = v },
	"model name":      func(h *Host, v string) { h.CPUName = v },
	"flags":           func(h *Host, v string) { h.CPUFlags = strings.Fields(v) },
	"Features":        func(h *Host, v string) { h.CPUFlags = strings.Fields(v) },
}

// ThisHost returns what this machine is. It is read once: the kernel asks every processor
// for its part of the answer.
func ThisHost() (Host, error) { return thisHost() }

var thisHost = sync.OnceValues(readHost)

func readHost() (Host, error) {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return Host{}, err
	}
	defer f.Close()
	h := Host{Arch: "x86_64"}
	if runtime.GOARCH == "arm64" {
		h.Arch = "aarch64"
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && lines.Text() != "" { // of the first processor: the others are as it is
		key, value, _ := strings.Cut(lines.Text(), ":")
		if set := fields[strings.TrimSpace(key)]; set != nil {
			set(&h, strings.TrimSpace(value))
		}
	}
	slices.Sort(h.CPUFlags)
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return Host{}, os.NewSyscallError("uname", err)
	}
	h.Kernel = unix.ByteSliceToString(uts.Release[:])
	return h, lines.Err()
}

// Fits returns an error that names each difference between the snapshot's host and this
// one that its guest would stumble over: SNAPSHOT_MISMATCH. Another kernel is none of
// these; Firecracker's guide does not support one all the same.
func (m *Manifest) Fits(here Host) error {
	var differences []errcode.Detail
	for _, d := range []struct{ field, there, here string }{
		{"arch", m.Host.Arch, here.Arch},
		{"cpuVendor", m.Host.CPUVendor, here.CPUVendor},
		{"cpuFamily", m.Host.CPUFamily, here.CPUFamily},
		{"cpuModel", m.Host.CPUModel, here.CPUModel},
	} {
		if d.there != d.here {
			differences = append(differences, errcode.Detail{Field: "host." + d.field, Message: fmt.Sprintf("%s in the snapshot, %s here", d.there, d.here)})
		}
	}
	var missing []string
	for _, flag := range m.Host.CPUFlags {
		if _, has := slices.BinarySearch(here.CPUFlags, flag); !has {
			missing = append(missing, flag)
		}
	}
	if len(missing) > 0 {
		differences = append(differences, errcode.Detail{Field: "host.cpuFlags", Message: "this processor lacks " + strings.Join(missing, " ")})
	}
	if len(differences) == 0 {
		return nil
	}
	return &errcode.Error{
		Code: errcode.SnapshotMismatch, Op: "compare hosts", Subject: m.Name, Details: differences,
		Hint: "restore it on a host of the same kind, or take snapshots with a CPU template that hides what differs",
	}
}
