package main

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"time"
)

// parseKnown reads lines of the form "ID MODULE@VERSION DATE REASON". Empty lines
// and those that begin with # are skipped.
func parseKnown(text string) (map[finding]bool, error) {
	entries := map[finding]bool{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 4 {
			return nil, fmt.Errorf("line %d: want ID MODULE@VERSION DATE REASON", n)
		}
		if _, err := time.Parse(time.DateOnly, f[2]); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		entry := finding{f[0], f[1]}
		if entries[entry] {
			return nil, fmt.Errorf("line %d: %s %s is there twice", n, f[0], f[1])
		}
		entries[entry] = true
	}
	return entries, lines.Err()
}

// judge returns one line for each finding that is not accepted and for each
// entry that is not found although its module version is in the build. Entries
// of other versions, such as another Go release's, say nothing about this build.
func judge(got report, accepted map[finding]bool) []string {
	var faults []string
	for f, fixed := range got.called {
		if !accepted[f] {
			faults = append(faults, fmt.Sprintf("new: %s %s (fixed in %s)", f.id, f.module, orNone(fixed)))
		}
	}
	for f := range accepted {
		if _, found := got.called[f]; !found && got.modules[f.module] {
			faults = append(faults, fmt.Sprintf("no longer needed in known.txt: %s %s", f.id, f.module))
		}
	}
	slices.Sort(faults)
	return faults
}

func orNone(version string) string {
	if version == "" {
		return "no version yet"
	}
	return version
}
