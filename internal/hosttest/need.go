// Package hosttest is for tests that touch the host: it says what a test needs,
// finds Firecracker, puts a test into namespaces of its own and proves that
// nothing was left behind. Only test files import it.
//
// Four environment variables steer it. SMARTVM_RUN_INTEGRATION=1 (or true, yes)
// switches on the tests that boot a microVM. SMARTVM_TEST_MUST=root,kvm,... names
// needs that this machine is known to meet: a test that lacks one of them fails
// and is not skipped. SMARTVM_FIRECRACKER is the Firecracker to test with, and
// SMARTVM_GUEST_KIT the directory that Linux guests boot from, which the lab sets.
package hosttest

import (
	"os"
	"slices"
	"strings"
	"testing"
)

const (
	integrationVar = "SMARTVM_RUN_INTEGRATION"
	mustVar        = "SMARTVM_TEST_MUST"
	binaryVar      = "SMARTVM_FIRECRACKER"
	dataDirVar     = "SMARTVM_DATA_DIR"
	guestKitVar    = "SMARTVM_GUEST_KIT"
)

// Requirement is something that a test can't do without.
type Requirement struct {
	name string        // as in SMARTVM_TEST_MUST
	lack func() string // what is missing and how to get it; "" when nothing is
}

// Needs of tests. [Tool] makes one for a command.
var (
	// Integration is the need of every test that boots a microVM; SMARTVM_RUN_INTEGRATION meets it.
	Integration = Requirement{"integration", lackIntegration}
	// KVM is a /dev/kvm that makes virtual machines.
	KVM = Requirement{"kvm", lackKVM}
	// Root is user id 0.
	Root = Requirement{"root", lackRoot}
	// Binary is a Firecracker that can be executed; [Firecracker] returns its path.
	Binary = Requirement{"firecracker", lackBinary}
	// Loop is a /dev/loop-control that makes block devices of files; see [LoopDevice].
	Loop = Requirement{"loop", lackLoop}
	// WireGuard is a kernel that makes links of that kind.
	WireGuard = Requirement{"wireguard", lackWireGuard}
	// Cgroup is a tree of control groups of version 2 with the controllers that limit VMs.
	Cgroup = Requirement{"cgroup", lackCgroup}
	// Guest is a kit to boot Linux guests from; [GuestKit] returns its path.
	Guest = Requirement{"guest", lackGuest}
)

// named are those that SMARTVM_TEST_MUST knows, besides tools.
var named = []Requirement{Integration, KVM, Root, Binary, Loop, WireGuard, Cgroup, Guest}

// Tool is the need of a command in PATH. Its name in SMARTVM_TEST_MUST is
// "tool:" and the command's.
func Tool(command string) Requirement {
	return Requirement{"tool:" + command, func() string {
		if inPath(command) != "" {
			return ""
		}
		return "there is no command " + command + " in PATH: install it"
	}}
}

// Path returns the path of a command that the test needs, see [Tool].
func Path(tb testing.TB, command string) string {
	tb.Helper()
	Need(tb, Tool(command))
	return inPath(command)
}

// Need skips the test when one of its requirements is not met, and fails it when
// SMARTVM_TEST_MUST says that this machine meets it. All that is missing is named.
func Need(tb testing.TB, requirements ...Requirement) {
	tb.Helper()
	must, unknown := parseMust(os.Getenv(mustVar))
	if len(unknown) > 0 {
		tb.Fatalf("%s: no such need: %s", mustVar, strings.Join(unknown, ", "))
	}
	var lacks []string
	fatal := false
	for _, r := range requirements {
		if lack := r.lack(); lack != "" {
			lacks = append(lacks, "needs "+r.name+": "+lack)
			fatal = fatal || slices.Contains(must, r.name)
		}
	}
	switch text := strings.Join(lacks, "\n"); {
	case fatal:
		tb.Fatalf("%s\n(a failure, since %s=%s)", text, mustVar, os.Getenv(mustVar))
	case text != "":
		tb.Skip(text)
	}
}

// parseMust splits the value of SMARTVM_TEST_MUST. A misspelt need would switch
// a check off without a word, so it is reported.
func parseMust(value string) (must, unknown []string) {
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		known := slices.ContainsFunc(named, func(r Requirement) bool { return r.name == name })
		switch {
		case name == "":
		case known || strings.HasPrefix(name, "tool:"):
			must = append(must, name)
		default:
			unknown = append(unknown, name)
		}
	}
	return must, unknown
}

func lackIntegration() string {
	switch strings.ToLower(os.Getenv(integrationVar)) {
	case "1", "true", "yes":
		return ""
	}
	return "it boots a microVM: set " + integrationVar + "=1"
}

// GuestKit is what a test that boots a Linux guest calls first: it needs what
// [Boot] does, and [Guest]. It returns the directory of the kit.
func GuestKit(tb testing.TB) string {
	tb.Helper()
	Need(tb, Integration, KVM, Binary, Guest)
	return os.Getenv(guestKitVar)
}

// lackCgroup looks by itself: what the tests are about is no judge of what they need.
func lackCgroup() string {
	const file = "/sys/fs/cgroup/cgroup.controllers"
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error() + ": boot with systemd.unified_cgroup_hierarchy=1, or run the tests in the lab"
	}
	there := strings.Fields(string(text))
	for _, name := range []string{"cpu", "io", "memory", "pids"} {
		if !slices.Contains(there, name) {
			return file + " does not have " + name + ": run the tests in the lab"
		}
	}
	return ""
}

func lackGuest() string {
	if os.Getenv(guestKitVar) != "" {
		return ""
	}
	return "it boots a Linux guest: run it with make lab-test"
}

func lackLoop() string {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return err.Error() + ": run the tests as root, and load the module: modprobe loop"
	}
	_ = control.Close()
	return ""
}

func lackWireGuard() string {
	if _, err := os.Stat("/sys/module/wireguard"); err != nil { // built in or loaded: there because it has a version
		return "this kernel has no WireGuard, or has not loaded it: modprobe wireguard"
	}
	return ""
}

func lackRoot() string {
	if os.Geteuid() == 0 {
		return ""
	}
	return "it changes the host: run the tests as root"
}
