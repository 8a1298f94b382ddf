// Package hardening checks whether a host is fit to run guests of strangers: the
// list of Firecracker's docs/prod-host-setup.md, and what the kernel's documentation
// says about the settings it names.
//
// A check reads files of the host and judges them; it changes nothing and starts
// nothing. What it can't read it calls unknown, never ok.
package hardening

import (
	"io/fs"
	"os"
	"runtime"

	"github.com/smartvm/smartvm/internal/verdict"
)

// Severity says how much depends on a check.
type Severity string

// The severities. With a must unmet, a guest can get at another guest or at the host,
// or nothing bounds what it uses up.
const (
	Must   Severity = "must"
	Should Severity = "should"
	Info   Severity = "info"
)

// Finding is what one check has found.
type Finding struct {
	Check    string         `json:"check"`
	Severity Severity       `json:"severity"`
	Status   verdict.Status `json:"status"`
	// Found is what is so, for people.
	Found string `json:"found"`
	// Read are the files that were looked at.
	Read []Reading `json:"read"`
	// Why is what depends on it.
	Why string `json:"why"`
	// Fix is a command or a setting; "" when the status is ok.
	Fix string `json:"fix,omitempty"`
}

// Met reports whether the check is known to be met.
func (f *Finding) Met() bool { return f.Status == verdict.OK }

// Reading is what was read of one file or directory.
type Reading struct {
	Path  string `json:"path"`
	Value string `json:"value"`
	// Problem says why there is no value.
	Problem string `json:"problem,omitempty"`
}

// Host is what is checked. The zero value is this machine, without programs and
// directories.
type Host struct {
	// FS is the tree of files, without the leading slash. Default: that of this process.
	FS fs.FS
	// Arch is the processor's architecture as Go names it. Default: this machine's.
	Arch string
	// UID is the user who runs smartvm, besides root the one who may own what matters.
	UID int
	// RuntimeDir and DataDir are smartvm's directories; "" when they can't be used.
	RuntimeDir, DataDir string
	Firecracker, Jailer Program
	// ConsoleLimit is how much of a guest's serial output smartvm keeps, in bytes.
	ConsoleLimit int64
	// Networks are those of smartvm that are up.
	Networks []Network
	// NetworksProblem says why they can't be told; "" when they can.
	NetworksProblem string
	Firewall        Firewall
}

// Firewall is what is known about the chains that drop forwarded traffic.
type Firewall struct {
	Seen    bool     // false when it could not be looked at
	Drops   []string // the chains
	Problem string   // why it was not seen
}

// Program is Firecracker or its jailer.
type Program struct {
	Path    string
	Version string // such as v1.12.1
	// Problem says why there is none that can be used.
	Problem string
}

// Network is one of smartvm's.
type Network struct {
	Name string
	// LinkLocal is true when guests may reach 169.254.0.0/16.
	LinkLocal bool
}

// check is one item of the list.
type check struct {
	name     string
	severity Severity
	why      string
	arch     string // the only one that it is about; "" for all
	look     func(*look)
}

// Check runs all checks in the order of their list.
func Check(h Host) []Finding {
	if h.FS == nil {
		h.FS = os.DirFS("/")
	}
	if h.Arch == "" {
		h.Arch = runtime.GOARCH
	}
	var findings []Finding
	for _, list := range [][]check{processor, memory, kernel, kvm, cgroups, programs, directories, networks} {
		for _, c := range list {
			if c.arch != "" && c.arch != h.Arch {
				continue
			}
			l := &look{Host: h, finding: Finding{Check: c.name, Severity: c.severity, Why: c.why, Read: []Reading{}}}
			c.look(l)
			findings = append(findings, l.conclude())
		}
	}
	return findings
}

// Unmet returns the names of the checks that must be met and are not known to be.
func Unmet(findings []Finding) []string {
	var names []string
	for i := range findings {
		if f := &findings[i]; f.Severity == Must && !f.Met() {
			names = append(names, f.Check)
		}
	}
	return names
}
