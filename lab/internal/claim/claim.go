// Package claim keeps account of what the end-to-end tests prove, so that users can
// see it: each test states its claims, a run reports how they fared, and the reports
// of a whole run make docs/verified.md.
package claim

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
)

// Claim is a promise of smartvm, and whether the test that tries it has passed.
type Claim struct {
	Contract string `json:"contract"` // the statement that it is about, such as "S3.3"
	Text     string `json:"text"`
	Test     string `json:"test"`
	Passed   bool   `json:"passed"`
}

// Report is what one test program has found.
type Report struct {
	Claims      []Claim  `json:"claims"`
	Firecracker []string `json:"firecracker"` // versions
	Kernels     []string `json:"kernels"`     // of the host that the VMs ran on
	Guests      []string `json:"guests"`      // kernels of guests
}

// DirVar names the directory that [Main] writes its report into. Without it there
// is none.
const DirVar = "SMARTVM_CLAIMS"

// Ledger of this process: tests run at the same time.
var (
	mu     sync.Mutex
	report Report
)

// State enters a claim of a test.
func State(t *testing.T, contract, text string) {
	t.Helper()
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		report.Claims = append(report.Claims, Claim{contract, text, t.Name(), !t.Failed() && !t.Skipped()})
	})
}

// Ran notes what a VM ran on. Empty strings are left out.
func Ran(firecracker, kernel, guest string) {
	mu.Lock()
	defer mu.Unlock()
	report.Firecracker = insert(report.Firecracker, firecracker)
	report.Kernels = insert(report.Kernels, kernel)
	report.Guests = insert(report.Guests, guest)
}

// Main runs the tests, writes the report and returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	dir := os.Getenv(DirVar)
	if dir == "" {
		return code
	}
	if err := write(dir); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "the report of the claims: %v\n", err)
		return max(code, 1)
	}
	return code
}

// write gives the report a name of its own: several programs may have one directory.
func write(dir string) error {
	mu.Lock()
	defer mu.Unlock()
	text, err := json.Marshal(report)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "claims-*.json")
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
