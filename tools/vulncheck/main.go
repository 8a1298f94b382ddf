// Command vulncheck runs govulncheck on a module and holds its findings against
// a list of those that are known and accepted, see known.txt.
//
//	go -C tools run ./vulncheck DIR
//
// It uses the public vulnerability database where that can be reached quickly,
// else the copy that the Go project publishes as the module golang.org/x/vulndb.
// It fails on a finding that is not listed and on an entry that nothing needs.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/vuln/scan"
)

//go:embed known.txt
var known string

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: vulncheck DIR")
		os.Exit(2) //nolint:forbidigo // main
	}
	if err := run(context.Background(), os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vulncheck:", err)
		os.Exit(1) //nolint:forbidigo // main
	}
}

func run(ctx context.Context, dir string, out io.Writer) error {
	accepted, err := parseKnown(known)
	if err != nil {
		return fmt.Errorf("known.txt: %w", err)
	}
	db, err := database(ctx)
	if err != nil {
		return fmt.Errorf("find a vulnerability database: %w", err)
	}
	got, err := findings(ctx, dir, db)
	if err != nil {
		return err
	}
	faults := judge(got, accepted)
	faults = append(faults, fmt.Sprintf("vulncheck: %d vulnerabilities can be reached, by %s", len(got.called), db))
	if _, err := fmt.Fprintln(out, strings.Join(faults, "\n")); err != nil {
		return err
	}
	if len(faults) > 1 {
		return errors.New("that is not what known.txt says")
	}
	return nil
}

// report is what a scan found: the modules in the build and the vulnerabilities
// of theirs that the scanned code can reach.
type report struct {
	modules map[string]bool    // "stdlib@v1.26.8"
	called  map[finding]string // its version with the fix, "" when there is none
}

// finding is one vulnerability of one module version.
type finding struct {
	id     string // "GO-2026-6613"
	module string // "stdlib@v1.26.8"
}

// message is the part of govulncheck's JSON stream that matters here.
type message struct {
	SBOM *struct {
		Modules []frame `json:"modules"`
	} `json:"SBOM"`
	Finding *struct {
		OSV          string  `json:"osv"`
		FixedVersion string  `json:"fixed_version"`
		Trace        []frame `json:"trace"`
	} `json:"finding"`
}

// frame is a module, or a function of one in the trace of a finding.
type frame struct {
	Path     string `json:"path"`
	Module   string `json:"module"`
	Version  string `json:"version"`
	Function string `json:"function"`
}

func findings(ctx context.Context, dir, db string) (report, error) {
	read, write := io.Pipe()
	cmd := scan.Command(ctx, "-C", dir, "-db", db, "-format", "json", "./...")
	cmd.Stdout, cmd.Stderr = write, os.Stderr
	if err := cmd.Start(); err != nil {
		return report{}, fmt.Errorf("start govulncheck: %w", err)
	}
	scanned := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		scanned <- errors.Join(err, write.CloseWithError(err))
	}()
	got, err := decode(read)
	if err != nil {
		return report{}, errors.Join(fmt.Errorf("read govulncheck's report: %w", err), read.CloseWithError(err), <-scanned)
	}
	return got, <-scanned
}

func decode(r io.Reader) (report, error) {
	got := report{modules: map[string]bool{}, called: map[finding]string{}}
	for dec := json.NewDecoder(r); ; {
		var m message
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return got, nil
		} else if err != nil {
			return report{}, err
		}
		if m.SBOM != nil {
			for _, module := range m.SBOM.Modules {
				got.modules[module.Path+"@"+module.Version] = true
			}
		}
		// A finding without a function means only that the module or package is there.
		if f := m.Finding; f != nil && len(f.Trace) > 0 && f.Trace[0].Function != "" {
			got.called[finding{f.OSV, f.Trace[0].Module + "@" + f.Trace[0].Version}] = f.FixedVersion
		}
	}
}
