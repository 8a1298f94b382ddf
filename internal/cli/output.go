package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// errReaderGone says that nobody reads our standard output any more.
var errReaderGone = errors.New("standard output is closed")

// output is standard output. It tells its closed pipe from all others.
type output struct{ w io.Writer }

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = errReaderGone
	}
	return n, err
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (a *app) print(text string) error {
	_, err := io.WriteString(a.stdout, text)
	return err
}

func (a *app) printJSON(value any) error {
	encoder := json.NewEncoder(a.stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// printTable prints rows, of which the first has the titles.
func (a *app) printTable(rows [][]string) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 8, 3, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(table, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(text.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return a.print(b.String())
}

// age returns how long ago t was, in one unit: "42s", "3h".
func age(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(int(d.Seconds()), 0))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}

// logLevel is the flag --log-level. The zero value is warn.
type logLevel slog.Level

// String implements pflag.Value.
func (l *logLevel) String() string { return strings.ToLower(l.level().String()) }

// Type implements pflag.Value.
func (l *logLevel) Type() string { return "LEVEL" }

// Set implements pflag.Value.
func (l *logLevel) Set(text string) error {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(text, level.String()) {
			*l = logLevel(level - slog.LevelWarn)
			return nil
		}
	}
	return errors.New("use debug, info, warn or error")
}

// level is what the zero value makes warn.
func (l *logLevel) level() slog.Level { return slog.Level(*l) + slog.LevelWarn }

// byteSize returns a size in the unit that suits it: "512 B", "84.2 MiB".
func byteSize(n int64) string {
	const units = "KMGTPE"
	size, unit := float64(n), -1
	for size >= 1023.95 && unit < len(units)-1 { // what would be printed as 1024.0
		size /= 1024
		unit++
	}
	if unit < 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", size, units[unit])
}
