package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	cmd := &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the completion script for a shell",
		Long:  "Print the completion script for a shell. It also completes the names of VMs.",
		Example: `  source <(smartvm completion bash)
  smartvm completion zsh > "${fpath[1]}/_smartvm"
  smartvm completion fish > ~/.config/fish/completions/smartvm.fish`,
		ValidArgs: shells,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("the name of one shell is needed: %s", strings.Join(shells, ", "))
			}
			return nil
		},
	}
	cmd.RunE = a.do(func(_ context.Context, args []string) error {
		root := cmd.Root()
		switch args[0] {
		case "bash":
			return root.GenBashCompletionV2(a.stdout, true)
		case "zsh":
			return root.GenZshCompletion(a.stdout)
		case "fish":
			return root.GenFishCompletion(a.stdout, true)
		default:
			return usageError{fmt.Errorf("%q is not one of %s", args[0], strings.Join(shells, ", "))}
		}
	})
	return cmd
}
