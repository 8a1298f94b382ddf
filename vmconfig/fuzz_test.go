package vmconfig_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/vmconfig"
)

func FuzzParse(f *testing.F) {
	names, err := filepath.Glob("testdata/*.*")
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range names {
		if name := filepath.Base(name); strings.HasSuffix(name, ".json") || strings.Contains(name, "yaml") {
			f.Add(read(f, name))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := vmconfig.Parse(data)
		if err != nil {
			mistakes(t, err)
			return
		}
		_, _, _ = c.Validate(), c.Warnings(), c.Requests()
		if diff := cmp.Diff(c, c.Clone(), addresses); diff != "" {
			t.Errorf("clone (-want +got):\n%s", diff)
		}
		asJSON, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		asYAML, err := c.MarshalYAML()
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{string(asJSON), string(asYAML)} {
			if diff := cmp.Diff(c, parse(t, text), addresses); diff != "" {
				t.Errorf("(-want +got):\n%s\nin\n%s", diff, text)
			}
		}
	})
}

func FuzzParseID(f *testing.F) {
	for _, text := range []string{"", "vm-1", "../x", "a/b", "a_b", "é", strings.Repeat("x", 65)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := vmconfig.ParseID(text)
		if err != nil {
			mistakes(t, err)
			return
		}
		if dir := filepath.Join("/run/vms", string(id)); filepath.Dir(dir) != "/run/vms" || string(id) != text {
			t.Errorf("%q leads to %s", text, dir)
		}
	})
}
