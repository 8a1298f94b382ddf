package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/hostnet"
)

func (a *app) netCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "net ls|show|plan|policy|repair|gc",
		Short: "Look at the networks of VMs, and change what guests may reach",
		Long: `Look at the networks of VMs. A network is a bridge with a subnet that VMs share; it
is made by the first VM that joins it (smartvm run --net) and goes with the last.
From it guests reach what the host reaches, but neither the host, nor each other,
nor link-local addresses such as a cloud's metadata service.

A NETWORK is named by its bridge; the default is that of the environment, else
svbr0. For plan, and for run --net=NETWORK, it may also be a network file, whose
name has a slash or a dot: JSON or YAML with the keys
  bridge, subnet, mtu, dns
  egress             what all guests may reach: default, rules
  allow_host         ports of the host that guests may use: [{port: 53, protocol: udp}]
  allow_peers        true: guests reach each other
  allow_link_local   true: guests reach 169.254.0.0/16
  wireguard          existing: an interface through which all traffic goes`,
		Example: `  smartvm run --net --image latest
  smartvm net ls
  smartvm net plan
  smartvm net policy show`,
		Args: a.noArgs,
		RunE: a.help,
	}
	cmd.AddCommand(a.netLsCommand(), a.netShowCommand(), a.netPlanCommand(), a.netPolicyCommand(), a.netRepairCommand(), a.netGCCommand())
	return cmd
}

// oneNetwork is for commands that take the name of a network, or none.
func oneNetwork(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return tooMany(cmd, args[1])
	}
	return nil
}

// onNetwork is with for a verb that works on the network that its first argument
// names.
func (a *app) onNetwork(verb func(ctx context.Context, n *hostnet.Network) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		word := ""
		if len(args) > 0 {
			word = args[0]
		}
		return a.withOptions(func(opts *smartvm.Options) error { return new(networkFlags).options(a, word, opts) },
			func(ctx context.Context, m *smartvm.Manager, _ []string) error { return verb(ctx, m.Network()) })(cmd, args)
	}
}

// completeNetworks completes the bridges of networks that there are, after the given
// words.
func (a *app) completeNetworks(rest cobra.ShellCompDirective, words ...cobra.Completion) cobra.CompletionFunc {
	return a.complete(1, rest, words, func(ctx context.Context, m *smartvm.Manager) (found []cobra.Completion, err error) {
		networks, err := hostnet.List(ctx, m.RuntimeDir())
		for _, n := range networks {
			found = append(found, cobra.CompletionWithDesc(n.Bridge, fmt.Sprint(n.Subnet)))
		}
		return found, err
	})
}
