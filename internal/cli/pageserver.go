package cli

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm/internal/pager"
)

const pageServerVerb = "page-server"

func (a *app) pageServerCommand() *cobra.Command {
	return &cobra.Command{
		Use:     pageServerVerb + " [WORKING-SET]",
		Short:   "Fill the memory of a VM that is restored lazily (started by restore)",
		Example: "  smartvm " + pageServerVerb + " /var/lib/smartvm/snapshots/web/memory.pages <&3 >&4",
		Hidden:  true,
		Args:    cobra.MaximumNArgs(1),
		RunE: a.do(func(ctx context.Context, args []string) error {
			return pager.Serve(ctx, pager.Inherited(args, slog.New(newLogHandler(a.stderr, a.level.level()))))
		}),
	}
}
