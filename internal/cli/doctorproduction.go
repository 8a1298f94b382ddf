package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/console"
	"github.com/smartvm/smartvm/internal/hardening"
)

// doctorProduction checks whether the host is fit for guests of strangers.
func (a *app) doctorProduction(ctx context.Context) error {
	host := hardening.Host{UID: os.Geteuid(), ConsoleLimit: console.DefaultLimit}
	host.Firecracker, host.Jailer = a.programs(ctx)
	m, err := a.manager(func(opts *smartvm.Options) error {
		opts.Offline = true
		return nil
	})
	if err == nil {
		host.RuntimeDir, host.DataDir = m.RuntimeDir(), m.DataDir()
		host.Networks, err = networksUp(ctx, m.RuntimeDir())
		err = errors.Join(err, m.Close()) //nolint:contextcheck // a Close has none, and bounds its waits itself
	}
	if err != nil {
		host.NetworksProblem = textOf(err)
	}
	host.Firewall = firewall(ctx)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	findings := hardening.Check(host)
	if err := a.printHardening(findings); err != nil {
		return err
	}
	unmet := hardening.Unmet(findings)
	if len(unmet) == 0 {
		return nil
	}
	return &smartvm.Error{
		Op: "check host", Err: fmt.Errorf("this host is not fit for production: %s", strings.Join(unmet, ", ")),
		Hint: "follow the fixes in the list, then try again",
	}
}

// programs returns the Firecracker and the jailer that a VM would run on.
func (a *app) programs(ctx context.Context) (fc, jailer hardening.Program) {
	found, err := a.findFirecracker(ctx, firecracker.Version{})
	if err != nil {
		return hardening.Program{Problem: textOf(err)}, jailer
	}
	fc = hardening.Program{Path: found.Path, Version: found.Version.String()}
	found, err = image.FindJailer(ctx, "", found, a.dataDirectory())
	if err != nil {
		return fc, hardening.Program{Problem: textOf(err)}
	}
	return fc, hardening.Program{Path: found.Path, Version: found.Version.String()}
}

func networksUp(ctx context.Context, dir string) ([]hardening.Network, error) {
	list, err := hostnet.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	networks := make([]hardening.Network, len(list))
	for i := range list {
		networks[i] = hardening.Network{Name: list[i].Bridge, LinkLocal: list[i].Config.AllowLinkLocal}
	}
	return networks, nil
}

func firewall(ctx context.Context) (f hardening.Firewall) {
	barriers, legacy, err := hostnet.Barriers(ctx)
	switch {
	case err != nil:
		f.Problem = textOf(err)
	case legacy && len(barriers) == 0:
		f.Problem = "the old iptables has rules, which smartvm can't see"
	default:
		f.Seen = true
	}
	for _, b := range barriers {
		f.Drops = append(f.Drops, b.String())
	}
	return f
}

// textOf returns an error's text in one line, without its hint.
func textOf(err error) string { return new(problem).absorb(err) }

// A line has room for so many files, and bytes of each; --json has all.
const (
	fewReadings = 3
	shortValue  = 80
)

func (a *app) printHardening(findings []hardening.Finding) error {
	if a.asJSON {
		return a.printJSON(findings)
	}
	rows := [][]string{{"CHECK", "SEVERITY", "STATUS", "FOUND"}}
	for i := range findings {
		f := &findings[i]
		rows = append(rows, []string{f.Check, string(f.Severity), string(f.Status), f.Found})
		if f.Met() {
			continue
		}
		if text := readingsText(f.Read); text != "" {
			rows = append(rows, []string{"", "", "", "read: " + text})
		}
		rows = append(rows, []string{"", "", "", "why: " + f.Why})
		if f.Fix != "" {
			rows = append(rows, []string{"", "", "", "fix: " + f.Fix})
		}
	}
	return a.printTable(rows)
}

// readingsText names files with what they say, the first line of each.
func readingsText(read []hardening.Reading) string {
	var texts []string
	for _, r := range read {
		if r.Problem != "" {
			texts = append(texts, r.Path+" ("+r.Problem+")")
			continue
		}
		value, _, _ := strings.Cut(r.Value, "\n")
		if len(value) > shortValue {
			value = strings.ToValidUTF8(value[:shortValue], "") + "..."
		}
		texts = append(texts, fmt.Sprintf("%s = %q", r.Path, value))
	}
	if n := len(texts); n > fewReadings {
		texts = append(texts[:fewReadings], fmt.Sprintf("%d more", n-fewReadings))
	}
	return strings.Join(texts, ", ")
}
