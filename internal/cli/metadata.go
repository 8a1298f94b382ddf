package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

func (a *app) metadataCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "metadata get|set",
		Short: "Read or replace what a guest finds in its metadata service",
		Long: `Read or replace what a guest finds in its metadata service (MMDS): a JSON object.
The guest reaches it through an interface that its configuration names under
mmds-config.`,
		Example: `  smartvm metadata get web
  smartvm metadata set web '{"role":"web"}'
  smartvm metadata set web @metadata.json`,
		Args: a.noArgs,
		RunE: a.help,
	}
	cmd.AddCommand(&cobra.Command{
		Use:               "get NAME",
		Short:             "Print the metadata of a VM, as JSON",
		Example:           "  smartvm metadata get web\n  smartvm metadata get web | jq -r .role",
		Args:              oneName(1, 1),
		ValidArgsFunction: a.completeNames(1),
		RunE:              a.with(a.getMetadata),
	}, &cobra.Command{
		Use:   "set NAME JSON|@FILE|-",
		Short: "Replace the metadata of a VM",
		Example: `  smartvm metadata set web '{"role":"web"}'
  smartvm metadata set web @metadata.json
  jq .metadata vm.json | smartvm metadata set web -`,
		Args:              oneName(2, 2),
		ValidArgsFunction: a.completeNames(1),
		RunE:              a.with(a.putMetadata),
	})
	return cmd
}

func (a *app) getMetadata(ctx context.Context, m *smartvm.Manager, args []string) error {
	vm, err := m.Attach(ctx, args[0])
	if err != nil {
		return err
	}
	data, err := vm.GetMetadata(ctx)
	if err != nil {
		return err
	}
	return a.printJSON(data)
}

func (a *app) putMetadata(ctx context.Context, m *smartvm.Manager, args []string) error {
	data, err := a.readArgument(args[1])
	if err != nil {
		return fmt.Errorf("read metadata: %w", err)
	}
	object, err := parseObject(data)
	if err != nil {
		return usageError{fmt.Errorf("metadata: %w", err)}
	}
	vm, err := m.Attach(ctx, args[0])
	if err != nil {
		return err
	}
	return vm.SetMetadata(ctx, object)
}
