package smartvm_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/smartvm/smartvm"

// layer is a storey of the house. Imports point downwards only, as drawn in
// docs/architecture.md.
type layer int

const (
	nowhere layer = iota
	codes         // errcode
	inner         // internal/..., but for the command's package
	part          // firecracker, vmconfig, ...: each usable alone
	root          // the package people import
	command       // internal/cli
	program       // cmd/..., and what is built on the product: bench, lab
)

var parts = []string{"firecracker", "vmconfig", "image", "baseimage", "netconfig", "hostnet", "pool", "snapshot"}

// Parts that may see others; the packages of internal all may. What they take from
// firecracker are its wire types and its Version, from netconfig a network as a value.
var siblings = map[string][]string{
	"vmconfig": {"firecracker", "netconfig"}, "image": {"firecracker"}, "baseimage": {"firecracker"}, "hostnet": {"netconfig"},
	"pool":     {"hostnet", "netconfig"}, // one of its networks for each user
	"snapshot": {"firecracker"},
}

// Packages of internal that are made of a part's values: a network as a value is
// what they plan and make.
var madeOf = map[string]string{"internal/netplan": "netconfig", "internal/netlinux": "netconfig"}

// Imports that belong to one package alone: each is a boundary to the world.
var owners = map[string]string{
	"os/exec":                        "internal/proc",
	"github.com/vishvananda/netlink": "internal/netlinux",
	"github.com/google/nftables":     "internal/netlinux",
	"golang.zx2c4.com/wireguard":     "internal/netlinux",
	"github.com/spf13/cobra":         "internal/cli",
	"github.com/Microsoft/hcsshim":   "internal/pack",
	"github.com/vbauerster/mpb":      "internal/cli",
	"github.com/klauspost/compress":  "snapshot",
}

// What bench uses, since it compares with what others would do, in a world around
// the host that it makes.
var compared = []string{"os/exec", "github.com/vishvananda/netlink", "github.com/google/nftables"}

// listed is what go list says about a package.
type listed struct {
	ImportPath string   `json:"ImportPath"`
	Imports    []string `json:"Imports"` // without those of its tests
}

func TestImportsPointDownwards(t *testing.T) {
	t.Parallel()
	for _, system := range []string{"linux", "darwin"} {
		packages := list(t, system)
		if len(packages) == 0 {
			t.Fatalf("go list knows no package for %s", system)
		}
		for _, p := range packages {
			for _, fault := range faults(p) {
				t.Errorf("%s: %s", system, fault)
			}
		}
	}
}

func list(t *testing.T, system string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports", "./...")
	cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ours []listed
	for dec := json.NewDecoder(out); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if _, inModule := within(p.ImportPath); inModule {
			ours = append(ours, p)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return ours
}

// within returns the path of a package inside the module; "" is the root.
func within(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func layerOf(path string) layer {
	top, _, _ := strings.Cut(path, "/")
	switch {
	case path == "":
		return root
	case path == "errcode":
		return codes
	case path == "internal/cli" || strings.HasPrefix(path, "internal/cli/"):
		return command
	case top == "internal":
		return inner
	case slices.Contains(parts, top):
		return part
	case top == "cmd" || top == "bench" || top == "lab":
		return program
	}
	return nowhere
}

// faults returns the imports of p that the architecture does not have.
func faults(p listed) []string {
	from, _ := within(p.ImportPath)
	if layerOf(from) == nowhere {
		return []string{from + " has no place in the architecture"}
	}
	var found []string
	for _, path := range p.Imports {
		to, ours := within(path)
		if ours && !allowed(from, to) || !ours && !mayUse(from, path) {
			found = append(found, fmt.Sprintf("%s must not import %s", p.ImportPath, path))
		}
	}
	return found
}

func allowed(from, to string) bool {
	above, below := layerOf(from), layerOf(to)
	if above == program && below == program {
		return strings.HasPrefix(from, "lab") && strings.HasPrefix(to, "lab/") // it has packages of its own
	}
	if to == "internal/hosttest" && from != "internal/nettest" || to == "internal/nettest" || below == nowhere || below == program {
		return false // for tests only, or nothing that anybody builds on
	}
	fromTop, _, _ := strings.Cut(from, "/")
	toTop, _, _ := strings.Cut(to, "/")
	switch {
	case fromTop == "cmd":
		return below == command
	case above == part && below == part:
		return fromTop == toTop || slices.Contains(siblings[fromTop], toTop)
	case above == inner && below == part:
		return madeOf[from] == to
	}
	return above >= below // packages of internal, and of the command, see each other
}

// mayUse is about imports from outside the module.
func mayUse(from, path string) bool {
	if from == "errcode" { // a leaf: the standard library only
		host, _, _ := strings.Cut(path, "/")
		return !strings.Contains(host, ".")
	}
	for owned, owner := range owners {
		if path == owned || strings.HasPrefix(path, owned+"/") {
			return from == owner || from == "bench" && slices.Contains(compared, owned) ||
				from == "internal/nettest" && owner == "internal/netlinux" // it is the world around the host, for tests
		}
	}
	return true
}

func TestArchitectureRefusesOtherArrows(t *testing.T) {
	t.Parallel()
	tests := []struct {
		from, to string
		want     bool
	}{
		{"internal/cli", module, true},
		{"", module + "/firecracker", true},
		{"", module + "/internal/ledger", true},
		{"vmconfig", module + "/firecracker", true},
		{"firecracker", module + "/errcode", true},
		{"internal/ledger", module + "/internal/privdir", true},
		{"internal/proc", "os/exec", true},
		{"cmd/smartvm", module + "/internal/cli", true},
		{"bench", module, true},
		{"bench", "github.com/google/nftables", true},
		{"lab", module + "/lab/internal/box", true},
		{"lab/guest", module, true},
		{"snapshot", module + "/firecracker", true},
		{"snapshot", "github.com/klauspost/compress/zstd", true},

		{"firecracker", module + "/vmconfig", false},
		{"hostnet", module + "/firecracker", false},
		{"image", module, false},
		{"internal/stage", module + "/firecracker", false},
		{"internal/stage", module + "/internal/cli", false},
		{"internal/stage", module + "/internal/hosttest", false},
		{"", module + "/internal/cli", false},
		{"", module + "/bench", false},
		{"cmd/smartvm", module, false},
		{"errcode", module + "/internal/fault", false},
		{"errcode", "golang.org/x/sys/unix", false},
		{"", "os/exec", false},
		{"hostnet", "github.com/google/nftables/expr", false},
		{"bench", "github.com/spf13/cobra", false},
		{"cmd/smartvm", "github.com/spf13/cobra", false},
		{"internal/fetch", "github.com/vbauerster/mpb/v8", false},
		{"bench", module + "/lab/guest", false},
		{"", module + "/lab/guest", false},
		{"lab/guest", module + "/internal/hosttest", false},
		{"snapshot", module + "/vmconfig", false},
		{"internal/pack", "github.com/klauspost/compress/zstd", false},
		{"util", "strings", false},
		{"internal/cli", module + "/util", false},
	}
	for _, tt := range tests {
		path := strings.TrimSuffix(module+"/"+tt.from, "/")
		if got := len(faults(listed{path, []string{tt.to}})) == 0; got != tt.want {
			t.Errorf("%q imports %s: allowed = %t, want %t", tt.from, tt.to, got, tt.want)
		}
	}
}
