package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/netconfig"
)

func (a *app) netPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy show|check|set",
		Short: "Show, try and replace what guests may reach",
		Long: `Show, try and replace the egress policy of a network. A policy is a list of rules,
of which the first that matches decides, and a default action; replies always pass.
It is a file, JSON or YAML:
  default: deny
  rules:
    - {action: allow, to: 1.1.1.1, protocol: udp, ports: [53], comment: resolver}
    - {action: deny, to: 10.0.0.0/8, log: true}
    - {action: allow, protocol: tcp, ports: [80, 443, 8000-8100]}
A VM may have a policy of its own (run --egress, --allow, --deny): then both must
allow a connection.`,
		Example: `  smartvm net policy show
  smartvm net policy check 1.1.1.1 443
  smartvm net policy set deny.yaml`,
		Args: a.noArgs,
		RunE: a.help,
	}
	cmd.AddCommand(a.netPolicyShowCommand(), a.netPolicyCheckCommand(), a.netPolicySetCommand())
	return cmd
}

func (a *app) netPolicyShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [NETWORK]",
		Short: "Show the policies of a network and its VMs, with their hits",
		Long: `Show the policies of a network and of those of its VMs that have one, with how many
packets each rule has decided about. Counting starts anew when a policy is replaced.`,
		Example: `  smartvm net policy show
  smartvm net policy show --json`,
		Args:              oneNetwork,
		ValidArgsFunction: a.completeNetworks(cobra.ShellCompDirectiveNoFileComp),
		RunE: a.onNetwork(func(ctx context.Context, n *hostnet.Network) error {
			policy, vms, err := n.Egress(ctx)
			if err != nil {
				return err
			}
			return a.printPolicies(policy, vms)
		}),
	}
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print an object")
	return cmd
}

func (a *app) printPolicies(policy *hostnet.PolicyHits, vms []hostnet.PolicyHits) error {
	if a.asJSON {
		return a.printJSON(struct {
			Network *hostnet.PolicyHits  `json:"network"`
			VMs     []hostnet.PolicyHits `json:"vms"`
		}{policy, append([]hostnet.PolicyHits{}, vms...)})
	}
	rows := [][]string{{"POLICY", "RULE", "PACKETS", "BYTES", "COMMENT"}}
	if policy == nil {
		rows = append(rows, []string{"network", "allow everything", "-", "-", ""})
	} else {
		rows = append(rows, policyRows("network", policy)...)
	}
	for i := range vms {
		rows = append(rows, policyRows("vm "+vms[i].VM, &vms[i])...)
	}
	return a.printTable(rows)
}

func policyRows(name string, p *hostnet.PolicyHits) [][]string {
	row := func(rule, comment string, hits hostnet.Hits) []string {
		return []string{name, rule, strconv.FormatUint(hits.Packets, 10), strconv.FormatUint(hits.Bytes, 10), comment}
	}
	var rows [][]string
	for i := range p.Rules {
		rows = append(rows, row(fmt.Sprintf("%d %s", i, p.Rules[i].Rule), p.Rules[i].Comment, p.Rules[i].Hits))
	}
	return append(rows, row("default "+string(p.Default), "", p.DefaultHits))
}

func (a *app) netPolicyCheckCommand() *cobra.Command {
	var vm, network, file string
	cmd := &cobra.Command{
		Use:   "check DEST [PORT[/udp] | icmp]",
		Short: "Say which rule decides about a connection",
		Long: `Say which rule of a policy decides about a connection from a guest to DEST, an IPv4
address: of the policy of the network, and of the VM's that --vm names, or of a
file. Nothing is sent. The exit code is 1 when the connection is denied.`,
		Example: `  smartvm net policy check 1.1.1.1 443
  smartvm net policy check 10.0.0.1 53/udp --vm web
  smartvm net policy check 10.0.0.1 icmp --file deny.yaml`,
		Args: exclusive(func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return fmt.Errorf("write the destination and the port: %s", cmd.UseLine())
			}
			_, err := parseConnection(args)
			return err
		}, "vm", "file"),
	}
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		c, err := parseConnection(args)
		if err != nil {
			return err
		}
		if file != "" {
			policy, err := a.readPolicy(file)
			if err != nil {
				return err
			}
			return a.printDecisions([]decision{c.by("file", policy)})
		}
		decisions, err := a.decide(ctx, c, network, vm)
		if err != nil {
			return err
		}
		return a.printDecisions(decisions)
	})
	cmd.Flags().StringVar(&vm, "vm", "", "also ask the policy of this VM, by its `NAME`")
	cmd.Flags().StringVar(&network, "net", "", "the `NETWORK`")
	cmd.Flags().StringVar(&file, "file", "", "ask the policy of a `FILE` instead")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	_ = cmd.RegisterFlagCompletionFunc("vm", a.completeNames(0)) // it fails only for an unknown flag
	_ = cmd.RegisterFlagCompletionFunc("net", a.completeNetworks(cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// connection is what a guest might open.
type connection struct {
	to       netip.Addr
	protocol netconfig.Protocol
	port     uint16
}

func parseConnection(args []string) (connection, error) {
	var c connection
	to, err := netip.ParseAddr(args[0])
	if err != nil || !to.Is4() {
		return c, fmt.Errorf("%q is not an IPv4 address", args[0])
	}
	c.to, c.protocol = to, netconfig.All
	if len(args) == 1 {
		return c, nil
	}
	if args[1] == string(netconfig.ICMP) {
		c.protocol = netconfig.ICMP
		return c, nil
	}
	text, protocol, given := strings.Cut(args[1], "/")
	c.protocol = netconfig.TCP
	if given {
		c.protocol = netconfig.Protocol(protocol)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 || c.protocol != netconfig.TCP && c.protocol != netconfig.UDP {
		return c, fmt.Errorf("%q is neither a port such as 443 or 53/udp, nor icmp", args[1])
	}
	c.port = uint16(port)
	return c, nil
}

// decision is what one policy says.
type decision struct {
	Policy string           `json:"policy"`
	Action netconfig.Action `json:"action"`
	Rule   int              `json:"rule"` // -1: the default action, or no policy
	Text   string           `json:"text"`
}

func (c connection) by(name string, p *netconfig.Policy) decision {
	if p == nil {
		return decision{name, netconfig.Allow, -1, "no policy"}
	}
	d := p.Decide(c.to, c.protocol, c.port)
	out := decision{name, d.Action, d.Rule, "default action"}
	if d.Rule >= 0 {
		out.Text = fmt.Sprintf("rule %d: %s", d.Rule, p.Rules[d.Rule])
	}
	return out
}

// decide asks the policies of a network and of a VM on it.
func (a *app) decide(ctx context.Context, c connection, word, vm string) (decisions []decision, err error) {
	m, err := a.manager(func(opts *smartvm.Options) error { return new(networkFlags).options(a, word, opts) })
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }() //nolint:contextcheck // a Close has none, and bounds its waits itself
	info, err := m.Network().Info(ctx)
	if err != nil {
		return nil, err
	}
	decisions = append(decisions, c.by("network", info.Config.Egress))
	if vm == "" {
		return decisions, nil
	}
	for _, g := range info.Guests {
		if g.VM == vm {
			return append(decisions, c.by("vm "+vm, g.Egress)), nil
		}
	}
	return nil, &smartvm.Error{
		Code: smartvm.VMNotFound, Op: "find vm", Subject: vm, Err: errors.New("it is not on network " + info.Bridge), Hint: "smartvm net show lists them",
	}
}

// errDenied is the failure that a check tells of.
var errDenied = errors.New("the connection is denied")

func (a *app) printDecisions(decisions []decision) error {
	var err error
	denied := false
	if a.asJSON {
		err = a.printJSON(decisions)
	} else {
		rows := [][]string{{"POLICY", "ACTION", "DECIDED BY"}}
		for _, d := range decisions {
			rows = append(rows, []string{d.Policy, string(d.Action), d.Text})
		}
		err = a.printTable(rows)
	}
	for _, d := range decisions {
		denied = denied || d.Action == netconfig.Deny
	}
	if err == nil && denied {
		err = &smartvm.Error{Op: "check policy", Err: errDenied, Hint: "smartvm net policy show lists the rules"}
	}
	return err
}

func (a *app) netPolicySetCommand() *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use:   "set FILE",
		Short: "Replace the policy of a network, also for VMs that run",
		Long: `Replace the policy of a network at once for all of its VMs, those that run
included. It also decides about connections that are open: what is denied now stops.
The policies of single VMs stay as they are. - is standard input.`,
		Example: `  smartvm net policy set deny.yaml
  echo '{"default": "allow"}' | smartvm net policy set -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("write the policy's file: %s", cmd.UseLine())
			}
			return nil
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.onNetwork(func(ctx context.Context, n *hostnet.Network) error {
			policy, err := a.readPolicy(args[0])
			if err != nil {
				return err
			}
			return n.SetEgress(ctx, policy)
		})(cmd, []string{network})
	}
	cmd.Flags().StringVar(&network, "net", "", "the `NETWORK`")
	_ = cmd.RegisterFlagCompletionFunc("net", a.completeNetworks(cobra.ShellCompDirectiveNoFileComp)) // it fails only for an unknown flag
	return cmd
}
