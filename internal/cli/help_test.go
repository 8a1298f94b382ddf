package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func allCommands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		all = append(all, allCommands(sub)...)
	}
	return all
}

func commandTree(t *testing.T) *cobra.Command {
	t.Helper()
	root := (&app{}).rootCommand()
	root.InitDefaultHelpCmd()
	return root
}

func TestEveryCommandHasShortExampleAndArgumentCheck(t *testing.T) {
	for _, cmd := range allCommands(commandTree(t)) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: Short is %q", cmd.CommandPath(), cmd.Short)
		}
		for line := range strings.Lines(cmd.Example) {
			if !strings.Contains(line, "  ") || !strings.Contains(line, "smartvm") {
				t.Errorf("%s: example %q", cmd.CommandPath(), line)
			}
		}
		if cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		if cmd.RunE == nil {
			t.Errorf("%s does nothing", cmd.CommandPath())
		}
		if cmd.Args == nil && cmd.Name() != "help" {
			t.Errorf("%s does not check its arguments", cmd.CommandPath())
		}
	}
}

// The golden files make every change of the help a visible one.
func TestHelpIsAsTheGoldenFilesSay(t *testing.T) {
	t.Setenv("SMARTVM_DATA_DIR", "/elsewhere") // no help depends on it
	for _, cmd := range allCommands(commandTree(t)) {
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
		golden := filepath.Join("testdata", "help", name+".txt")
		var out, errs bytes.Buffer
		args := strings.Fields(cmd.CommandPath() + " --help")[1:]
		if code := Main(t.Context(), args, strings.NewReader(""), &out, &errs); code != exitOK || errs.Len() > 0 {
			t.Errorf("%s: exit code %d, %s", name, code, errs.String())
		}
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(want), out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestManPagesHaveNoStrayRequests(t *testing.T) {
	known := []string{".TH", ".SH", ".B", ".BR", ".TP", ".nf", ".fi"}
	for _, cmd := range allCommands(commandTree(t)) {
		for line := range strings.Lines(manPage(cmd)) {
			request, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !slices.Contains(known, request) {
				t.Errorf("%s: %q", cmd.CommandPath(), line)
			}
		}
	}
}
