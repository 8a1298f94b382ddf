package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/vmconfig"
)

// netFlags are the flags of run that are about the VM's network.
type netFlags struct {
	networkFlags
	policyFlags

	net      string // --net: "" when it was not given
	taps     []string
	forwards forwardFlags
}

// Values of --net that are not the name or file of a network.
const (
	netDefault = "default"
	netNone    = "none"
)

func (f *netFlags) register(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.net, "net", "", "add an interface on a `NETWORK`, see above")
	flags.Lookup("net").NoOptDefVal = netDefault
	f.networkFlags.register(flags)
	flags.VarP(&f.forwards, "publish", "p", "lead a port of this host to the guest, see above; can be repeated")
	f.policyFlags.register(flags, "the guest")
	flags.StringArrayVar(&f.taps, "tap", nil, "add an interface on an existing TAP `DEVICE`; can be repeated")
	for _, name := range []string{"tap", "publish", "allow", "deny", "subnet"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions) // it fails only for an unknown flag
	}
	_ = cmd.RegisterFlagCompletionFunc("net", a.completeNetworks(cobra.ShellCompDirectiveDefault, netNone+"\tno interface")) // as above
}

// arguments takes the word none of --net none, which for the flag's parser is an
// argument of its own, out of the arguments.
func (f *netFlags) arguments(args []string) ([]string, error) {
	if i := slices.Index(args, netNone); i >= 0 && f.net == netDefault {
		f.net = netNone
		args = slices.Delete(slices.Clone(args), i, i+1)
	}
	wants := f.given() || len(f.forwards) > 0 || f.egress != "" || len(f.rules) > 0
	switch {
	case f.net == netNone && wants:
		return nil, errors.New("--net none excludes all that is about a network")
	case f.net == netNone && len(f.taps) > 0:
		return nil, errors.New("--net none and --tap exclude each other")
	case f.net == "" && wants:
		f.net = netDefault
	}
	return args, nil
}

// options gives the manager the network that the VM is to join.
func (f *netFlags) options(a *app, opts *smartvm.Options) error {
	if f.net == netNone {
		return nil
	}
	word := f.net
	if word == netDefault {
		word = ""
	}
	return f.networkFlags.options(a, word, opts)
}

// addTo puts the flags into a config.
func (f *netFlags) addTo(a *app, config *vmconfig.Config) error {
	if f.net == netNone {
		config.NetworkInterfaces, config.Network = nil, nil
		return nil
	}
	taken := map[string]bool{}
	for _, n := range config.NetworkInterfaces {
		taken[n.IfaceID] = true
	}
	add := func(tap string) {
		config.NetworkInterfaces = append(config.NetworkInterfaces, firecracker.NetworkInterface{IfaceID: freeID("eth", 0, taken), HostDevName: tap})
	}
	if f.net != "" && len(config.MadeInterfaces()) == 0 {
		add("")
	}
	for _, tap := range f.taps {
		add(tap)
	}
	if f.net == "" {
		return nil
	}
	if config.Network == nil {
		config.Network = &vmconfig.Network{IPArgument: true}
	}
	config.Network.Forwards = append(config.Network.Forwards, f.forwards...)
	var err error
	config.Network.Egress, err = f.policy(a, config.Network.Egress)
	return err
}

// policyFlags say what guests may reach.
type policyFlags struct {
	egress string
	rules  ruleFlags
}

func (f *policyFlags) register(flags *pflag.FlagSet, whom string) {
	flags.StringVar(&f.egress, "egress", "", "what "+whom+" may reach: a policy `FILE`, JSON or YAML")
	flags.Var(f.rules.flag(netconfig.Allow), "allow", "let "+whom+" reach this, see above; can be repeated")
	flags.Var(f.rules.flag(netconfig.Deny), "deny", "keep "+whom+" from this; can be repeated")
}

// policy makes one of the file, or of what there is without it, with the rules of the
// command line before its own.
func (f *policyFlags) policy(a *app, policy *netconfig.Policy) (*netconfig.Policy, error) {
	if f.egress != "" {
		var err error
		if policy, err = a.readPolicy(f.egress); err != nil {
			return nil, err
		}
	}
	if len(f.rules) == 0 {
		return policy, nil
	}
	if policy == nil {
		policy = &netconfig.Policy{Default: f.rules.fallback()}
	}
	policy.Rules = slices.Concat(f.rules, policy.Rules)
	return policy, nil
}

func (a *app) readPolicy(path string) (*netconfig.Policy, error) {
	data, err := a.readFileOrStdin(path)
	if err != nil {
		return nil, fmt.Errorf("read egress policy: %w", err)
	}
	policy, err := netconfig.ParsePolicy(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return policy, nil
}

// forwardFlags are the flags --publish.
type forwardFlags []netconfig.Forward

// String implements pflag.Value.
func (*forwardFlags) String() string { return "" }

// Type implements pflag.Value.
func (*forwardFlags) Type() string { return "PORTS" }

// Set implements pflag.Value.
func (f *forwardFlags) Set(text string) error {
	forward, err := netconfig.ParseForward(text)
	if err != nil {
		return causeOf(err)
	}
	*f = append(*f, forward)
	return nil
}

// ruleFlags are the rules of --allow and --deny, in the order of the command line.
type ruleFlags []netconfig.Rule

func (r *ruleFlags) flag(action netconfig.Action) pflag.Value { return &ruleFlag{r, action} }

// fallback is the default action of a policy that has only these rules: who says
// what is allowed means that the rest is not.
func (r *ruleFlags) fallback() netconfig.Action {
	allows := func(rule netconfig.Rule) bool { return rule.Action == netconfig.Allow }
	if slices.ContainsFunc(*r, allows) {
		return netconfig.Deny
	}
	return netconfig.Allow
}

// ruleFlag is one of the two flags.
type ruleFlag struct {
	rules  *ruleFlags
	action netconfig.Action
}

// String implements pflag.Value.
func (*ruleFlag) String() string { return "" }

// Type implements pflag.Value.
func (*ruleFlag) Type() string { return "RULE" }

// Set implements pflag.Value.
func (f *ruleFlag) Set(text string) error {
	rule, err := netconfig.ParseRule(text)
	if err != nil {
		return causeOf(err)
	}
	rule.Action = f.action
	*f.rules = append(*f.rules, rule)
	return nil
}

// networkFlags say what a network is like; without them it is as it is, or new
// with the defaults.
type networkFlags struct {
	subnet, wireGuard string
}

func (f *networkFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.subnet, "subnet", "", "the network's addresses, a `CIDR` (default: "+netconfig.DefaultSubnet+")")
	flags.StringVar(&f.wireGuard, "wireguard", "", "send the network's traffic through WireGuard: a wg-quick `FILE`, or the name of an interface")
}

func (f *networkFlags) given() bool { return f.subnet != "" || f.wireGuard != "" }

// options describes the network that word names: "" the default one, a bridge, or
// a network file.
func (f *networkFlags) options(a *app, word string, opts *smartvm.Options) error {
	if word != "" {
		config, err := networkConfig(word)
		if err != nil {
			return err
		}
		opts.Network = *config
	}
	if f.subnet != "" {
		subnet, err := netconfig.ParseSubnet(f.subnet)
		if err != nil {
			return usageError{err}
		}
		opts.Network.Subnet = subnet
	}
	if f.wireGuard == "" {
		return nil
	}
	tunnel, err := a.wireGuard(f.wireGuard)
	opts.Network.WireGuard = tunnel
	return err
}

// wireGuard reads what --wireguard names: a file, if it has a slash or a dot, else
// an interface.
func (a *app) wireGuard(word string) (*netconfig.WireGuard, error) {
	if !strings.ContainsAny(word, "/.") {
		return &netconfig.WireGuard{Existing: word}, nil
	}
	data, err := readFile(word)
	if err != nil {
		return nil, fmt.Errorf("read wireguard configuration: %w", err)
	}
	tunnel, warnings, err := netconfig.ParseWireGuard(data)
	for _, w := range warnings {
		a.say("warning: %s: %s", word, w)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", word, err)
	}
	return &netconfig.WireGuard{Tunnel: tunnel}, nil
}

// networkConfig reads what names a network: a network file, if it has a slash or a
// dot, else a bridge.
func networkConfig(word string) (*netconfig.Config, error) {
	if !strings.ContainsAny(word, "/.") {
		return &netconfig.Config{Bridge: word}, nil
	}
	data, err := readFile(word)
	if err != nil {
		return nil, fmt.Errorf("read network file: %w", err)
	}
	config, err := netconfig.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", word, err)
	}
	return config, nil
}
