package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm"
)

func (a *app) inspectSecurity(ctx context.Context, m *smartvm.Manager, args []string) error {
	vm, err := m.Attach(ctx, args[0])
	if err != nil {
		return err
	}
	security, err := vm.Security(ctx)
	if err != nil {
		return err
	}
	if a.asJSON {
		return a.printJSON(security)
	}
	if err := a.printTable(factsOf(security)); err != nil {
		return err
	}
	if err := a.print("\n"); err != nil {
		return err
	}
	return a.printTable(verdictsOf(security))
}

func verdictsOf(s *smartvm.Security) [][]string {
	rows := [][]string{{"CHECK", "STATUS", "FOUND"}}
	for _, v := range s.Verdicts {
		rows = append(rows, []string{v.Item, string(v.Status), v.Found})
		if v.Fix != "" {
			rows = append(rows, []string{"", "", "fix: " + v.Fix})
		}
	}
	return rows
}

// factsOf are rows of what was read, of which verdicts only say what matters.
func factsOf(s *smartvm.Security) [][]string {
	rows := [][]string{
		{"process", fmt.Sprintf("%d (%s)", s.PID, s.Name)},
		{"user", fmt.Sprintf("uid %d, gid %d, groups: %s", s.UIDs.Effective, s.GIDs.Effective, listed(s.Groups))},
		{"capabilities", capabilityText(s.Capabilities.Usable())},
	}
	for i, t := range s.Threads {
		rows = append(rows, []string{titled("threads", i), threadText(t)})
	}
	if s.Root != nil {
		rows = append(rows, []string{"root", orUnknown(s.Root.Path)})
	}
	rows = append(rows, []string{"own namespaces", namespaceText(s)})
	for i, g := range s.Cgroups {
		rows = append(rows, []string{titled("cgroups", i), cgroupText(g)})
	}
	if l := s.Limits; l != nil {
		rows = append(rows, []string{"limits", fmt.Sprintf("nofile %s; fsize %s; core %s", l.OpenFiles, l.FileSize, l.CoreSize)})
	}
	if s.Files != nil {
		rows = append(rows, []string{"open files", strconv.Itoa(s.Files.Open)})
		for i, f := range s.Files.Outside {
			rows = append(rows, []string{titled("outside of root", i), fmt.Sprintf("%d %s (%s, %s)", f.FD, f.Path, f.Kind, f.Access)})
		}
	}
	rows = append(rows, []string{"environment", known(s.Environment)}, []string{"oom_score_adj", known(s.OOMScoreAdj)}, []string{"dumpable", known(s.Dumpable)})
	return rows
}

// fewCapabilities is how many fit a line; a process of root has all.
const fewCapabilities = 4

func capabilityText(names []string) string {
	if len(names) > fewCapabilities {
		return fmt.Sprintf("%d (--json lists them)", len(names))
	}
	return orNone(strings.Join(names, " "))
}

// titled returns the title in the first row of several.
func titled(title string, row int) string {
	if row > 0 {
		return ""
	}
	return title
}

func threadText(t smartvm.SecurityThread) string {
	text := fmt.Sprintf("%d %s: seccomp %s", t.TID, t.Name, t.Seccomp)
	if t.Filters != nil {
		text += fmt.Sprintf(" (%d)", *t.Filters)
	}
	if t.NoNewPrivs {
		text += ", no_new_privs"
	}
	if t.Kernel {
		text += ", a worker of the kernel"
	}
	return text
}

func namespaceText(s *smartvm.Security) string {
	if s.Namespaces == nil {
		return unknownText
	}
	var own []string
	for _, n := range s.Namespaces {
		if n.Separate {
			own = append(own, n.Kind)
		}
	}
	return orNone(strings.Join(own, " "))
}

func cgroupText(g smartvm.SecurityCgroup) string {
	name := "v2"
	if g.Version == 1 {
		name = strings.Join(g.Controllers, ",")
	}
	var limits []string
	for _, l := range g.Limits {
		limits = append(limits, fmt.Sprintf("%s %s", l.File, strings.ReplaceAll(l.Value, "\n", ", ")))
	}
	text := orNone(strings.Join(limits, "; "))
	if g.Limits == nil {
		text = unknownText
	}
	return name + " " + g.Path + ": limits: " + text
}

const unknownText = "unknown"

func known[T any](value *T) string {
	if value == nil {
		return unknownText
	}
	return fmt.Sprint(*value)
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func orUnknown(text string) string {
	if text == "" {
		return unknownText
	}
	return text
}

func listed(ids []int) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(id)
	}
	return orNone(strings.Join(texts, " "))
}
