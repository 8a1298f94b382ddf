package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) waitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wait NAME...",
		Short: "Wait until VMs have ended, and tell how",
		Long: `Wait until VMs have ended. For each a line with its name, its last state and how
Firecracker ended is printed as soon as it is known. The exit code is 1 when one
of them ended in the state error.`,
		Example: `  smartvm wait web
  smartvm wait web db --json`,
		Args:              someNames,
		ValidArgsFunction: a.completeNames(0),
		RunE:              a.with(a.wait),
	}
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print an object for each VM")
	return cmd
}

// ending is what wait prints about one VM.
type ending struct {
	ID    string         `json:"id"`
	State smartvm.State  `json:"state"`
	Ended *smartvm.Ended `json:"ended"`
}

func (a *app) wait(ctx context.Context, m *smartvm.Manager, names []string) error {
	var mu sync.Mutex
	return each(ctx, m, names, func(ctx context.Context, vm *smartvm.VM) error {
		ended, err := vm.Wait(ctx)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if a.asJSON {
			err = a.printJSON(ending{vm.ID(), vm.State(), ended})
		} else {
			err = a.print(fmt.Sprintf("%s: %s, %s\n", vm.ID(), vm.State(), ended.Status))
		}
		return errors.Join(err, failedVM(vm, ended))
	})
}
