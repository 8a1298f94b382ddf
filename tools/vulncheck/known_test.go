package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

var (
	inTLS  = finding{"GO-2026-0001", "stdlib@v1.26.8"}
	inHTTP = finding{"GO-2026-0002", "stdlib@v1.26.8"}
	older  = finding{"GO-2025-0003", "stdlib@v1.26.1"}
)

func TestJudgeFailsOnNewFindingsAndOnEntriesThatNothingNeeds(t *testing.T) {
	modules := map[string]bool{"stdlib@v1.26.8": true}
	tests := []struct {
		name   string
		called []finding
		known  []finding
		want   []string
	}{
		{"nothing found, nothing known", nil, nil, nil},
		{"found and known", []finding{inTLS}, []finding{inTLS}, nil},
		{"new", []finding{inTLS, inHTTP}, []finding{inTLS}, []string{"new: GO-2026-0002 stdlib@v1.26.8 (fixed in v1.26.9)"}},
		{"gone", nil, []finding{inTLS}, []string{"no longer needed in known.txt: GO-2026-0001 stdlib@v1.26.8"}},
		{"another version's entry", nil, []finding{older}, nil},
		{"another version's entry accepts nothing here", []finding{inTLS}, []finding{{inTLS.id, older.module}}, []string{"new: GO-2026-0001 stdlib@v1.26.8 (fixed in v1.26.9)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := report{modules: modules, called: map[finding]string{}}
			for _, f := range tt.called {
				got.called[f] = "v1.26.9"
			}
			accepted := map[finding]bool{}
			for _, f := range tt.known {
				accepted[f] = true
			}
			if faults := judge(got, accepted); !slices.Equal(faults, tt.want) {
				t.Errorf("got %q, want %q", faults, tt.want)
			}
		})
	}
}

func TestDecodeKeepsOnlyWhatIsCalled(t *testing.T) {
	got, err := decode(strings.NewReader(`
{"config": {"protocol_version": "v1.0.0"}}
{"SBOM": {"modules": [{"path": "example.org/m"}, {"path": "stdlib", "version": "v1.26.8"}]}}
{"osv": {"id": "GO-2026-0001"}}
{"finding": {"osv": "GO-2026-0001", "fixed_version": "v1.26.9", "trace": [{"module": "stdlib", "version": "v1.26.8"}]}}
{"finding": {"osv": "GO-2026-0002", "fixed_version": "v1.26.9", "trace": [
  {"module": "stdlib", "version": "v1.26.8", "package": "net/http", "function": "Get"}, {"module": "example.org/m"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := map[finding]string{inHTTP: "v1.26.9"}; !maps.Equal(got.called, want) {
		t.Errorf("called = %v, want %v", got.called, want)
	}
	if !got.modules["stdlib@v1.26.8"] {
		t.Errorf("modules = %v, want the standard library in it", got.modules)
	}
}

func TestParseKnownWantsDateAndReason(t *testing.T) {
	for _, text := range []string{
		"GO-2026-0001 stdlib@v1.26.8 2026-11-24",
		"GO-2026-0001 stdlib@v1.26.8 yesterday it is only a tool",
		"GO-2026-0001 stdlib@v1.26.8 2026-11-24 once\nGO-2026-0001 stdlib@v1.26.8 2026-11-24 twice",
	} {
		if entries, err := parseKnown(text); err == nil {
			t.Errorf("parseKnown(%q) = %v, want an error", text, entries)
		}
	}
	entries, err := parseKnown("# a remark\n\nGO-2026-0001 stdlib@v1.26.8 2026-11-24 it is only a tool\n")
	if want := map[finding]bool{inTLS: true}; err != nil || !maps.Equal(entries, want) {
		t.Errorf("got %v, %v, want %v", entries, err, want)
	}
}
