package vmconfig_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func parse(tb testing.TB, text string) *vmconfig.Config {
	tb.Helper()
	c, err := vmconfig.Parse([]byte(text))
	if err != nil {
		tb.Fatalf("%v\nin\n%s", err, text)
	}
	return c
}

// mistakes returns the details of an INVALID_CONFIG error as lines.
func mistakes(tb testing.TB, err error) string {
	tb.Helper()
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != errcode.InvalidConfig {
		tb.Fatalf("got %v, want an INVALID_CONFIG error", err)
	}
	var b strings.Builder
	for _, d := range e.Details {
		b.WriteString(d.String() + "\n")
	}
	return b.String()
}

// golden compares got with a file of testdata; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(filepath.Join("testdata", name), []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(read(t, name)), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestFirecrackerFilesParseAndValidateUnchanged(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"minimal.json", "getting-started.json", "vm-config-answer.json", "cpu-config-path.json", "everything.json", "vm.yaml"} {
		c, err := vmconfig.Parse(read(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseReadsEveryValue(t *testing.T) {
	t.Parallel()
	got := parse(t, string(read(t, "getting-started.json")))
	want := &vmconfig.Config{
		BootSource:    firecracker.BootSource{KernelImagePath: "./vmlinux-6.1.141", BootArgs: "console=ttyS0 reboot=k panic=1"},
		MachineConfig: &firecracker.MachineConfig{VCPUCount: 2, MemSizeMiB: 1024, HugePages: "None"},
		Drives: []vmconfig.Drive{{Drive: firecracker.Drive{
			DriveID: "rootfs", IsRootDevice: true, CacheType: "Unsafe", PathOnHost: "./ubuntu-24.04.ext4", IOEngine: "Sync",
		}}},
		NetworkInterfaces: []firecracker.NetworkInterface{{IfaceID: "net1", GuestMAC: "06:00:AC:10:00:02", HostDevName: "tap0"}},
		Logger:            &firecracker.Logger{LogPath: "./firecracker.log", Level: "Debug", ShowLevel: true, ShowLogOrigin: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseYAMLKeepsTextAndExpandsAliases(t *testing.T) {
	t.Parallel()
	got := parse(t, string(read(t, "vm.yaml")))
	limit := &firecracker.RateLimiter{Ops: &firecracker.TokenBucket{Size: 10, RefillTime: 20}}
	want := &vmconfig.Config{
		BootSource:    firecracker.BootSource{KernelImagePath: "vmlinux", BootArgs: "console=ttyS0 reboot=k panic=1"},
		MachineConfig: &firecracker.MachineConfig{VCPUCount: 2, MemSizeMiB: 256, HugePages: "2M"},
		CPUConfig:     &vmconfig.CPUConfig{Path: "template.json"},
		Drives: []vmconfig.Drive{
			{Drive: firecracker.Drive{DriveID: "rootfs", PathOnHost: "root.ext4", IsRootDevice: true, RateLimiter: limit}},
			{Drive: firecracker.Drive{DriveID: "data", PathOnHost: "data.ext4", RateLimiter: limit}},
		},
		NetworkInterfaces: []firecracker.NetworkInterface{{IfaceID: "eth0", GuestMAC: "12:34:56:12:34:56", TxRateLimiter: limit}},
		Logger:            &firecracker.Logger{Level: "Off"},
		Metadata:          firecracker.Metadata{"no": "No", "exponent": json.Number("1e3")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Drives[0].RateLimiter == got.Drives[1].RateLimiter {
		t.Error("an alias became shared memory")
	}
}

func TestParseMergesListsAndLetsTheFirstWin(t *testing.T) {
	t.Parallel()
	got := parse(t, `
metadata:
  a: &a {x: 1, y: 1}
  b: &b {y: 2, z: 2}
  c: {<<: [*a, *b], x: 0}
`).Metadata["c"]
	want := map[string]any{"x": json.Number("0"), "y": json.Number("1"), "z": json.Number("2")}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseReportsEveryMistakeWithFieldAndLine(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mistakes.json", "mistakes.yaml"} {
		_, err := vmconfig.Parse(read(t, name))
		golden(t, strings.ReplaceAll(name, ".", "-")+".txt", mistakes(t, err))
	}
}

func TestParseRefusesWhatIsNoSingleDocument(t *testing.T) {
	t.Parallel()
	bomb := "metadata:\n  a0: &a0 [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
	for i := range 9 {
		n := string(rune('0' + i))
		next := string(rune('1' + i))
		bomb += "  a" + next + ": &a" + next + " [" + strings.TrimSuffix(strings.Repeat("*a"+n+", ", 10), ", ") + "]\n"
	}
	tests := []struct{ name, text, want string }{
		{"nothing", "", "is empty"},
		{"space", " \n", "is empty"},
		{"only a comment", "# x\n", "want one"},
		{"trailing data", `{"drives": []} {}`, "after top-level value (line 1)"},
		{"trailing comma", "{\n\"drives\": [],\n}", "(line 3)"},
		{"two documents", "drives: []\n---\ndrives: []\n", "has 2 YAML documents"},
		{"a list", "- a\n", "want an object, found a list"},
		{"text", "hello\n", `want an object, found the text "hello"`},
		{"bad UTF-8", "{\"drives\": \"\xff\"}", "UTF-8"},
		{"too large", "{" + strings.Repeat(" ", 1<<20) + "}", "at most 1048576"},
		{"deep JSON", `{"metadata":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + "}", "too deep"},
		{"deep YAML", "metadata: " + strings.Repeat("[", 70) + strings.Repeat("]", 70), "too deep"},
		{"deep YAML block", strings.Repeat("- ", 5000), "too deep"},
		{"many keys as YAML", strings.Repeat("a:\n", 10_000), "as JSON"},
		{"alias bomb", bomb, "more than 100000 values"},
		{"alias in itself", "metadata: &a\n  b: *a\n", "no anchor"},
		{"tag", "metadata: {a: !!str 5}\n", "tags"},
		{"hexadecimal", "metadata: {a: 0x10}\n", "plain decimal"},
		{"infinity", "metadata: {a: .inf}\n", "plain decimal"},
		{"duplicate metadata", "metadata: {a: {b: 1, b: 2}}\n", "metadata.a.b: is set twice"},
		{"merge of text", "metadata: {<<: x}\n", "merges objects"},
		{"list for a key", "metadata: {[a]: 1}\n", "is not YAML"},
		{"complex key", "metadata:\n  ? a\n  : 1\n", "a key must be plain text"},
		{"merge of a list of text", "metadata: {<<: [x]}\n", "merges objects"},
		{"deep through aliases", "metadata:\n  a: &a " + strings.Repeat("[", 40) + strings.Repeat("]", 40) +
			"\n  b: " + strings.Repeat("[", 40) + "*a" + strings.Repeat("]", 40) + "\n", "too deep"},
		{"long key", "metadat_" + strings.Repeat("a", 100) + ": 1\n", `"...: unknown key (line 1)`},
		{"cpu-config without a name", "cpu-config: ''\n", "want an object, found the text"},
		{"bad YAML", "a: [\n", "is not YAML"},
	}
	for _, tt := range tests {
		_, err := vmconfig.Parse([]byte(tt.text))
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
		} else if got := mistakes(t, err); !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q in it", tt.name, got, tt.want)
		}
	}
}

func TestParseGivesUpAfterOneHundredMistakes(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	_, err := vmconfig.Parse([]byte(b.String()))
	if n := strings.Count(mistakes(t, err), "\n"); n != 100 {
		t.Errorf("got %d mistakes, want 100", n)
	}
}

func TestCPUConfigResolvesItsPath(t *testing.T) {
	t.Parallel()
	c := vmconfig.CPUConfig{Path: "x.json"}
	if err := c.Resolve([]byte(`{"msr_modifiers": [{"adr": "0x1"}]}`)); err == nil {
		t.Error("unknown key accepted")
	} else if got, want := mistakes(t, err), "cpu-config.msr_modifiers[0].adr: unknown key, did you mean \"addr\"? (line 1)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if c.Path != "x.json" {
		t.Error("changed in spite of the error")
	}
	if err := c.Resolve(read(t, "cpu-config.json")); err != nil {
		t.Fatal(err)
	}
	want := vmconfig.CPUConfig{CPUConfig: firecracker.CPUConfig{MSRModifiers: []firecracker.MSRModifier{{Addr: "0x10a", Bitmap: "0b1"}}}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
