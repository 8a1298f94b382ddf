package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/netconfig"
)

func (a *app) netLsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the networks",
		Long:    `List the networks that VMs of this runtime directory use.`,
		Example: `  smartvm net ls
  smartvm net ls --json`,
		Args: a.noArgs,
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, _ []string) error {
			networks, err := hostnet.List(ctx, m.RuntimeDir())
			if err != nil {
				return err
			}
			return a.printNetworks(networks)
		}),
	}
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	return cmd
}

func (a *app) printNetworks(networks []hostnet.Info) error {
	if a.asJSON {
		return a.printJSON(append([]hostnet.Info{}, networks...))
	}
	rows := [][]string{{"NETWORK", "SUBNET", "GATEWAY", "GUESTS", "EGRESS", "WAY OUT"}}
	for i := range networks {
		n := &networks[i]
		rows = append(rows, []string{
			n.Bridge, n.Subnet.String(), n.Gateway.String(), strconv.Itoa(len(n.Guests)), policyName(n.Config.Egress), wayOut(n.Config.WireGuard),
		})
	}
	return a.printTable(rows)
}

// policyName says what a policy comes to in a few words.
func policyName(p *netconfig.Policy) string {
	switch {
	case p == nil:
		return "allow"
	case len(p.Rules) == 0:
		return string(p.Default)
	case len(p.Rules) == 1:
		return "1 rule, else " + string(p.Default)
	default:
		return strconv.Itoa(len(p.Rules)) + " rules, else " + string(p.Default)
	}
}

func wayOut(w *netconfig.WireGuard) string {
	if w == nil || w.KeepDefaultRoute {
		return "default route"
	}
	return w.Name()
}
