package smartvm_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest  = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	madeTest   = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(t \*testing\.T\)`)
	namedPlace = regexp.MustCompile("(?:^|, )`([a-z/]+(?:\\.go)?)`") // and not the function behind it
)

func TestSecurityNamesTestsAndPlacesThatExist(t *testing.T) {
	t.Parallel()
	made := map[string]bool{}
	must(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == ".cache" {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range madeTest.FindAllSubmatch(text, -1) {
			made[string(m[1])] = true
		}
		return err
	}))
	text, err := os.ReadFile("docs/security.md")
	must(t, err)
	named := 0
	for _, m := range namedTest.FindAllSubmatch(text, -1) {
		if named++; !made[string(m[1])] {
			t.Errorf("there is no %s", m[1])
		}
	}
	lines := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || strings.Contains(line, "|---|") || strings.Contains(line, "| Proof |") {
			continue
		}
		if lines++; !namedTest.MatchString(cells[3]) {
			t.Errorf("nothing proves: %s", line)
		}
		for _, m := range namedPlace.FindAllStringSubmatch(strings.TrimSpace(cells[2]), -1) {
			if !exists(m[1]) {
				t.Errorf("there is no %s, in: %s", m[1], line)
			}
		}
	}
	if lines < 40 || named < lines {
		t.Errorf("%d lines and %d tests: what was read is not the document", lines, named)
	}
}
