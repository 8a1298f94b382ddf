package jail

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWithoutAJailBothPathsAreTheSameAbsoluteOne(t *testing.T) {
	t.Parallel()
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var table Table
	inside, err := table.Add("kernel", "vmlinux")
	if want := filepath.Join(cwd, "vmlinux"); err != nil || inside != want || table.Host("kernel") != want || table.Inside("kernel") != want {
		t.Errorf("inside %q, host %q, %v; want %q for both", inside, table.Host("kernel"), err, want)
	}
	if table.Host("initrd") != "" {
		t.Error("a role that was never entered has a file")
	}
}

func TestReplaceMovesOneFileAndEntersANewOne(t *testing.T) {
	t.Parallel()
	var table Table
	for role, path := range map[string]string{"drive a": "/img", "drive b": "/other"} {
		if _, err := table.Add(role, path); err != nil {
			t.Fatal(err)
		}
	}
	for _, role := range []string{"drive a", "drive c"} {
		if inside, err := table.Replace(role, "/copy"); err != nil || inside != "/copy" || table.Host(role) != "/copy" {
			t.Errorf("%s: inside %q, host %q, %v", role, inside, table.Host(role), err)
		}
	}
	if table.Host("drive b") != "/other" || len(table.Files) != 3 {
		t.Errorf("files %+v", table.Files)
	}
}

func TestEmptyPathIsAnError(t *testing.T) {
	t.Parallel()
	var table Table
	if _, err := table.Add("kernel", ""); err == nil {
		t.Error("Add accepts an empty path")
	}
	if _, err := table.Replace("kernel", ""); err == nil {
		t.Error("Replace accepts an empty path")
	}
}
