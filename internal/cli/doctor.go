package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

// verdict is the outcome of a check.
type verdict string

// The verdicts. A warning is something that only some VMs need.
const (
	fine    verdict = "ok"
	warning verdict = "warn"
	failing verdict = "fail"
)

// finding is what one check has found.
type finding struct {
	Check  string  `json:"check"`
	Status verdict `json:"status"`
	Found  string  `json:"found"`
	Fix    string  `json:"fix,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	var production bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether this host can run VMs, and say how to fix it",
		Long: `Check whether this host can run VMs: KVM, Firecracker, the directories, the
permissions for networks, and whether a guest really boots. The built-in guest
also measures how fast guest code runs next to host code, because a KVM that
emulates the processor works, slowly. Nothing is downloaded.

The exit code is 1 when a check fails. A warning is about something that only
some VMs need. What the checks make is removed again.

With --production check instead whether this host is fit to run guests of
strangers, by Firecracker's own guide: swap, page sharing, flaws of the
processor, kernel, KVM, cgroups, jailer, directories, what users may do, and
forwarding. Each finding is a must, a should or an info, with what was read, why
it matters and what mends it. What can't be read is unknown and never ok; root
can read it all. The exit code is 1 unless every must is known to be met.`,
		Example: `  smartvm doctor
  smartvm doctor --json | jq '.[] | select(.status != "ok")'
  smartvm doctor --production`,
		Args: a.noArgs,
		RunE: a.do(func(ctx context.Context, args []string) error {
			if production {
				return a.doctorProduction(ctx)
			}
			return a.doctor(ctx, args)
		}),
	}
	cmd.Flags().BoolVar(&production, "production", false, "check whether it is fit for guests of strangers")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	return cmd
}

func (a *app) doctor(ctx context.Context, _ []string) error {
	findings := []finding{checkKernel(), checkKVM(), a.checkFirecracker(ctx)}
	m, err := a.manager(func(opts *smartvm.Options) error {
		opts.Offline = true
		return nil
	})
	if err != nil {
		findings = append(findings, failed("directories", err))
	} else {
		findings = append(findings, checkDirectory("runtime directory", m.RuntimeDir(), true), checkDirectory("data directory", m.DataDir(), false),
			checkImages(ctx, m), checkLeftovers(ctx, m))
		findings = append(findings, checkGuest(ctx, m)...)
		findings = append(findings, checkNetworks(ctx, m)...)
		if err := m.Close(); err != nil { //nolint:contextcheck // a Close has none, and bounds its waits itself
			return err
		}
	}
	rights, permitted := a.checkRights()
	findings = append(findings, rights, checkTUN())
	if permitted { // else they are those of who makes networks for this user
		findings = append(findings, checkNFTables(), checkBarriers(ctx), a.checkPools(ctx))
	}
	findings = append(findings, checkCgroups(), checkInotify())
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := a.printFindings(findings); err != nil {
		return err
	}
	var bad []string
	for _, f := range findings {
		if f.Status == failing {
			bad = append(bad, f.Check)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return &smartvm.Error{
		Op: "check host", Err: fmt.Errorf("this host can't run VMs: %s", strings.Join(bad, ", ")),
		Hint: "follow the fixes in the list, then try again",
	}
}

func (a *app) printFindings(findings []finding) error {
	if a.asJSON {
		return a.printJSON(findings)
	}
	rows := [][]string{{"CHECK", "STATUS", "FOUND"}}
	for _, f := range findings {
		rows = append(rows, []string{f.Check, string(f.Status), f.Found})
		if f.Fix != "" {
			rows = append(rows, []string{"", "", "fix: " + f.Fix})
		}
	}
	return a.printTable(rows)
}

// failed turns an error into a finding; its hint is the fix.
func failed(check string, err error) finding {
	p := problem{}
	texts := []string{p.absorb(err)}
	for _, d := range p.Details {
		texts = append(texts, d.String())
	}
	return finding{check, failing, strings.Join(texts, "; "), p.Hint}
}
