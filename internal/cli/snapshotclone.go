package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) snapshotCloneCommand() *cobra.Command {
	var (
		o      smartvm.CloneOptions
		n      = cloneNumber{1}
		noJail bool
	)
	cmd := &cobra.Command{
		Use:   "clone SNAPSHOT -n N [flags]",
		Short: "Make many VMs of one snapshot",
		Long: `Make N VMs of a snapshot and leave them running, or none of them. Each has its own
disks, vsock and TAPs; the memory they share until they write to it. Their names
are NAME-1 to NAME-N, and are printed with their addresses.

Inside, each is the machine that it was, with the same addresses, host name and
keys. Outside, each has an address of its own, which is translated.`,
		Example: `  smartvm snapshot clone warm -n 100
  smartvm snapshot clone warm -n 20 --name worker --json
  smartvm snapshot clone warm -n 5 --paused`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := oneSnapshot(cmd, args); err != nil || o.ID == "" {
				return err
			}
			return validName(o.ID)
		},
		ValidArgsFunction: a.completeSnapshots(1),
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.VarP(&n, "number", "n", "how many, at most "+strconv.Itoa(smartvm.MaxClones))
	flags.StringVar(&o.ID, "name", "", "the beginning of their `NAME`s (default: the snapshot's)")
	flags.BoolVar(&o.Paused, "paused", false, "leave the guests standing where they were, for resume")
	flags.BoolVar(&o.ClockRealtime, "clock-realtime", false, "move the guests' kvm-clock on by the time since the snapshot")
	flags.BoolVar(&noJail, "no-jail", false, "run Firecracker as root and without its jailer; for tests")
	flags.BoolVar(&a.asJSON, "json", false, "print a list of objects")
	a.offlineFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions) // it fails only for an unknown flag
	cmd.RunE = a.withOptions(func(opts *smartvm.Options) error { a.jailOption(opts, noJail); return nil },
		func(ctx context.Context, m *smartvm.Manager, args []string) error {
			vms, err := m.Clone(ctx, args[0], int(n.wholeNumber), o)
			if err != nil {
				return err
			}
			return a.detachAll(ctx, m, vms)
		})
	return cmd
}

// cloneNumber is the flag --number.
type cloneNumber struct{ wholeNumber }

// Set implements pflag.Value.
func (n *cloneNumber) Set(text string) error {
	if err := n.wholeNumber.Set(text); err != nil || n.wholeNumber < 1 || n.wholeNumber > smartvm.MaxClones {
		return fmt.Errorf("write a whole number from 1 to %d", smartvm.MaxClones)
	}
	return nil
}

// clone is what a script learns of a VM that was made of a snapshot.
type clone struct {
	ID        string        `json:"id"`
	State     smartvm.State `json:"state"`
	Addresses []netip.Addr  `json:"addresses"` // by which this host reaches it
	Dir       string        `json:"dir"`
	Socket    string        `json:"socket"`
}

// detachAll leaves all VMs to keepers, or cleans all of them up.
func (a *app) detachAll(ctx context.Context, m *smartvm.Manager, vms []*smartvm.VM) error {
	self, err := os.Executable()
	clones := make([]clone, 0, len(vms))
	for _, vm := range vms {
		if err == nil {
			err = vm.Detach(ctx, a.keeperArgs(self, m, vm))
		}
		c := clone{ID: vm.ID(), State: vm.State(), Addresses: []netip.Addr{}, Dir: vm.Dir(), Socket: vm.SocketPath()}
		for _, tap := range vm.TAPs() {
			c.Addresses = append(c.Addresses, tap.Addr.Addr())
		}
		clones = append(clones, c)
	}
	if err != nil {
		for _, vm := range vms {
			err = errors.Join(err, vm.Cleanup(context.WithoutCancel(ctx)))
		}
		return err
	}
	if a.asJSON {
		return a.printJSON(clones)
	}
	var text strings.Builder
	for _, c := range clones {
		text.WriteString(c.ID)
		for _, addr := range c.Addresses {
			text.WriteString(" " + addr.String())
		}
		text.WriteByte('\n')
	}
	return a.print(text.String())
}
