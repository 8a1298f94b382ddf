package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/hostnet"
)

func (a *app) netPlanCommand() *cobra.Command {
	var f networkFlags
	var word string
	cmd := &cobra.Command{
		Use:   "plan [NETWORK]",
		Short: "Show what a network is in the kernel, without touching the host",
		Long: `Show what a network is in the kernel, as text and without touching the host: its
links, settings, routes and routing rules, and its nftables tables in the syntax
of nft. For a network that is up, its guests are in it.`,
		Example: `  smartvm net plan
  smartvm net plan ./web.yaml
  smartvm net plan --wireguard ./wg0.conf`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				word = args[0]
			}
			return oneNetwork(cmd, args)
		},
		ValidArgsFunction: a.completeNetworks(cobra.ShellCompDirectiveDefault),
	}
	cmd.RunE = a.withOptions(func(opts *smartvm.Options) error { return f.options(a, word, opts) },
		func(ctx context.Context, m *smartvm.Manager, _ []string) error {
			text, err := m.Network().Plan(ctx)
			if err != nil {
				return err
			}
			return a.print(text)
		})
	f.register(cmd.Flags())
	return cmd
}

func (a *app) netRepairCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "repair [NETWORK]",
		Short: "Make a network again what it is planned to be",
		Long: `Make a network again what it is planned to be, after somebody has removed or
changed a part of it: a firewall that was loaded anew, a bridge that was deleted.
What is right is left alone, and guests keep their connections.`,
		Example: `  smartvm net show
  smartvm net repair`,
		Args:              oneNetwork,
		ValidArgsFunction: a.completeNetworks(cobra.ShellCompDirectiveNoFileComp),
		RunE:              a.onNetwork(func(ctx context.Context, n *hostnet.Network) error { return n.Repair(ctx) }),
	}
}
