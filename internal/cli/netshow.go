package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/netconfig"
)

func (a *app) netShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [NETWORK]",
		Short: "Show a network, its guests, and what is wrong with it",
		Long: `Show a network and its guests, and compare what is in the kernel with what is
planned: a part that somebody has removed or changed is shown with what it means
for guests and what to do. The exit code is 1 when something is wrong.`,
		Example: `  smartvm net show
  smartvm net show svbr1 --json`,
		Args:              oneNetwork,
		ValidArgsFunction: a.completeNetworks(cobra.ShellCompDirectiveNoFileComp),
		RunE:              a.onNetwork(a.netShow),
	}
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print an object")
	return cmd
}

func (a *app) netShow(ctx context.Context, n *hostnet.Network) error {
	info, err := n.Info(ctx)
	if err != nil {
		return err
	}
	faults, err := n.Check(ctx)
	if err != nil {
		return err
	}
	if a.asJSON {
		err = a.printJSON(struct {
			hostnet.Info

			Faults []hostnet.Fault `json:"faults"`
		}{*info, append([]hostnet.Fault{}, faults...)})
	} else {
		err = a.printNetwork(info, faults)
	}
	if err != nil || len(faults) == 0 {
		return err
	}
	return &smartvm.Error{Code: errcode.NetworkFailed, Op: "check network", Subject: info.Bridge, Details: details(faults), Hint: faults[0].Fix}
}

func details(faults []hostnet.Fault) []errcode.Detail {
	list := make([]errcode.Detail, len(faults))
	for i, f := range faults {
		list[i].Message = f.What
	}
	return list
}

func (a *app) printNetwork(info *hostnet.Info, faults []hostnet.Fault) error {
	rows := [][]string{
		{"network", info.Bridge},
		{"subnet", info.Subnet.String()},
		{"gateway", info.Gateway.String()},
		{"egress", policyName(info.Config.Egress)},
		{"way out", wayOut(info.Config.WireGuard)},
		{"open to guests", openings(&info.Config)},
	}
	if err := a.printTable(rows); err != nil {
		return err
	}
	if len(info.Guests) > 0 {
		rows = [][]string{{"VM", "INTERFACE", "ADDRESS", "MAC", "TAP", "EGRESS", "PORTS"}}
		for _, g := range info.Guests {
			rows = append(rows, []string{g.VM, g.Iface, g.Addr.String(), g.MAC, g.TAP, policyName(g.Egress), ports(g.Forwards)})
		}
		if err := a.print("\n"); err != nil {
			return err
		}
		if err := a.printTable(rows); err != nil {
			return err
		}
	}
	for _, f := range faults {
		if err := a.print("\nwrong: " + f.What + "\n  effect: " + f.Effect + "\n  fix: " + f.Fix + "\n"); err != nil {
			return err
		}
	}
	return nil
}

// openings says what guests reach that they do not by default.
func openings(c *netconfig.Config) string {
	var open []string
	for _, p := range c.AllowHost {
		open = append(open, fmt.Sprintf("port %d/%s of the host", p.Port, p.Protocol))
	}
	if c.AllowPeers {
		open = append(open, "each other")
	}
	if c.AllowLinkLocal {
		open = append(open, "link-local addresses")
	}
	return dash(strings.Join(open, ", "))
}

func ports(forwards []netconfig.Forward) string {
	texts := make([]string, len(forwards))
	for i, f := range forwards {
		texts[i] = f.String()
	}
	return dash(strings.Join(texts, ", "))
}

// dash prints nothing as "-".
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
