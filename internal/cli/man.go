package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) manCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages into a directory",
		Example: "  smartvm man /usr/local/share/man/man1",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("the directory for the pages is needed, and nothing else")
			}
			return nil
		},
	}
	cmd.RunE = a.do(func(_ context.Context, args []string) error { return writePages(cmd.Root(), args[0]) })
	return cmd
}

// writePages writes a page for the command and all below it.
func writePages(cmd *cobra.Command, dir string) error {
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	// Manual pages are for everybody.
	err := os.WriteFile(filepath.Join(dir, name+".1"), []byte(manPage(cmd)), 0o644) //nolint:gosec // see above
	for _, sub := range cmd.Commands() {
		if err == nil && sub.IsAvailableCommand() {
			err = writePages(sub, dir)
		}
	}
	return err
}

// manPage returns the page of one command, in the man macros of roff.
func manPage(cmd *cobra.Command) string {
	var b strings.Builder
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	fmt.Fprintf(&b, ".TH %s 1\n.SH NAME\n%s \\- %s\n", strings.ToUpper(roff(name)), roff(name), roff(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(cmd.UseLine()))
	if cmd.Long != "" {
		b.WriteString(".SH DESCRIPTION\n" + preformatted(cmd.Long))
	}
	writeOptions(&b, "OPTIONS", cmd.NonInheritedFlags())
	writeOptions(&b, "GLOBAL OPTIONS", cmd.InheritedFlags())
	b.WriteString(".SH EXAMPLES\n" + preformatted(cmd.Example))
	var related []string
	if cmd.HasParent() {
		related = append(related, strings.ReplaceAll(cmd.Parent().CommandPath(), " ", "-"))
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			related = append(related, name+"-"+sub.Name())
		}
	}
	for i := range related {
		related[i] = ".BR " + roff(related[i]) + " (1)"
	}
	b.WriteString(".SH SEE ALSO\n" + strings.Join(related, ",\n") + "\n")
	return b.String()
}

func writeOptions(b *strings.Builder, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	b.WriteString(".SH " + title + "\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		names := "--" + f.Name
		if f.Shorthand != "" {
			names = "-" + f.Shorthand + ", " + names
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace(names+" "+value)), roff(usage))
	})
}

func preformatted(text string) string { return ".nf\n" + roff(text) + "\n.fi\n" }

// roff takes the meaning from what roff would obey.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
