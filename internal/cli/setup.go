package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/pool"
)

// setupFlags are the flags of setup.
type setupFlags struct {
	policyFlags

	user, remove, subnet      string
	list, dryRun, unit, force bool
	taps                      wholeNumber
	changed                   func(string) bool // whether a flag was given
}

func (a *app) setupCommand() *cobra.Command {
	f := &setupFlags{}
	cmd := &cobra.Command{
		Use:   "setup --user NAME | --list | --remove NAME",
		Short: "Let a user run VMs with networks without root",
		Long: `Prepare this host, once and as root, for a user who then runs VMs with networks
without root. The user gets access to /dev/kvm and /dev/net/tun, by an access control
list, and a pool: a network of his own with some TAP devices that he may open. What
guests may reach is in place before, and only root can change it. No process of the
user gets a capability.

The user's run --net takes a TAP of the pool; -p, --wireguard and rules for a single
guest need root. The guests of a pool reach what this host reaches, or what --egress,
--allow and --deny say (see smartvm help run), but neither the host, nor each other,
nor the guests of others.

The command can be repeated: it repairs what is missing, and what no flag says stays
as it is. Other rules count at once, also for VMs that run; other TAPs or another
subnet only while no VM uses the pool. A setup or a removal that was killed is put
right by the next one.

A pool lasts until the host's next start. --unit makes nothing, but prints a systemd
unit that makes the pool at each start.`,
		Example: `  sudo smartvm setup --user alice
  sudo smartvm setup --user alice --taps 32 --subnet 10.80.0.0/24 --deny 10.0.0.0/8
  sudo smartvm setup --user alice --dry-run
  smartvm setup --list
  sudo smartvm setup --remove alice
  smartvm setup --user alice --unit | sudo tee /etc/systemd/system/smartvm-alice.service
  sudo systemctl enable --now smartvm-alice   # of smartvm setup --unit`,
		Args: f.arguments(a),
		RunE: a.do(func(ctx context.Context, _ []string) error { return a.setup(ctx, f) }),
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.changed = flags.Changed
	flags.StringVar(&f.user, "user", "", "make or change the pool of a user, by `NAME` or number")
	flags.BoolVar(&f.list, "list", false, "list the pools; needs no root")
	flags.StringVar(&f.remove, "remove", "", "remove the pool of a user, by `NAME` or number, and his access")
	flags.Var(&f.taps, "taps", "how many TAPs, each for an interface of a VM (default "+strconv.Itoa(pool.DefaultTAPs)+")")
	flags.StringVar(&f.subnet, "subnet", "", "the guests' addresses, a `CIDR` (default: the first /24 of 172.31.0.0/16 that is free)")
	f.register(flags, "guests")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only say what would be done")
	flags.BoolVar(&f.unit, "unit", false, "only print a systemd unit that does it at each start of the host")
	flags.BoolVar(&f.force, "force", false, "with --remove: also while VMs of the user run, which lose their network")
	flags.BoolVar(&a.asJSON, "json", false, "print an object, or a list")
	for _, name := range []string{"user", "remove", "taps", "subnet", "allow", "deny"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions) // it fails only for an unknown flag
	}
	return cmd
}

func (f *setupFlags) arguments(a *app) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		verbs := 0
		for _, name := range []string{"user", "list", "remove"} {
			if f.changed(name) {
				verbs++
			}
		}
		if verbs != 1 {
			return errors.New("write one of --user NAME, --list and --remove NAME")
		}
		if f.changed("taps") && f.taps < 1 {
			return errors.New("--taps is a number from 1 on")
		}
		for name, verb := range map[string]string{
			"taps": "user", "subnet": "user", "egress": "user", "allow": "user", "deny": "user", "dry-run": "user", "unit": "user", "force": "remove",
		} {
			if f.changed(name) && !f.changed(verb) {
				return fmt.Errorf("--%s is for --%s", name, verb)
			}
		}
		if f.unit && (f.dryRun || a.asJSON || f.egress == "-") {
			return errors.New("--unit excludes --dry-run, --json and --egress -")
		}
		return a.noArgs(cmd, args)
	}
}

// poolOptions are those of the environment.
func (a *app) poolOptions() pool.Options {
	return pool.Options{Dir: os.Getenv(envPoolDir), Logger: slog.New(newLogHandler(a.stderr, a.level.level()))}
}

func (a *app) setup(ctx context.Context, f *setupFlags) error {
	switch {
	case f.list:
		pools, err := pool.List(a.poolOptions())
		return errors.Join(a.printPools(pools), err)
	case f.remove != "":
		return a.removePool(ctx, f)
	}
	user, err := pool.ParseUser(f.user)
	if err != nil {
		return usageError{err}
	}
	request := pool.Request{User: user, TAPs: int(f.taps)}
	if f.subnet != "" {
		if request.Subnet, err = netconfig.ParseSubnet(f.subnet); err != nil {
			return usageError{err}
		}
	}
	if request.Egress, err = f.policy(a, nil); err != nil {
		return err
	}
	switch {
	case f.unit:
		return a.printUnit(f, user)
	case f.dryRun:
		lines, err := pool.Preview(ctx, a.poolOptions(), request)
		if err != nil {
			return err
		}
		return a.printLines(lines)
	}
	p, err := pool.SetUp(ctx, a.poolOptions(), request)
	if err != nil {
		return err
	}
	a.say("user %s can run VMs with networks now: smartvm run hello --net", user.Name)
	a.say("this lasts until the host's next start; --unit prints a systemd unit that does it again then")
	if a.asJSON {
		row, err := newPoolRow(*p)
		return errors.Join(err, a.printJSON(row))
	}
	return a.printPools([]pool.Pool{*p})
}

func (a *app) removePool(ctx context.Context, f *setupFlags) error {
	user, err := pool.ParseUser(f.remove)
	if err != nil {
		return usageError{err}
	}
	removed, err := pool.Remove(ctx, a.poolOptions(), user, f.force)
	if err == nil && len(removed) == 0 {
		a.say("user %s has no pool: there is nothing to remove", user.Name)
	}
	if !a.asJSON {
		for i := range removed {
			removed[i] = "removed " + removed[i]
		}
	}
	return errors.Join(a.printLines(removed), err)
}

// printLines prints lines, or a list of them.
func (a *app) printLines(lines []string) error {
	if a.asJSON {
		return a.printJSON(append([]string{}, lines...))
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	return a.print(b.String())
}

// poolRow is a pool with the state of its TAPs.
type poolRow struct {
	pool.Pool
	pool.Status
}

func newPoolRow(p pool.Pool) (poolRow, error) {
	status, err := p.Status()
	return poolRow{p, status}, err
}

func (a *app) printPools(pools []pool.Pool) error {
	rows := make([]poolRow, len(pools))
	text := [][]string{{"USER", "NETWORK", "SUBNET", "TAPS", "IN USE", "MISSING", "EGRESS"}}
	for i := range pools {
		row, err := newPoolRow(pools[i])
		if err != nil {
			return err
		}
		rows[i] = row
		text = append(text, []string{
			row.User.Name, row.Bridge, row.Subnet.String(), strconv.Itoa(len(row.TAPs)), strconv.Itoa(row.Used), strconv.Itoa(row.Missing),
			policyName(row.Egress),
		})
	}
	if a.asJSON {
		return a.printJSON(rows)
	}
	return a.printTable(text)
}
