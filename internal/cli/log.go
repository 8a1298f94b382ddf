package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// logHandler writes what the library logs as the command writes its own errors:
// "warning: base image evicted (bundle debian-12, retention 2)", a line each.
// Whoever reads them sees them come, so they have no time.
type logHandler struct {
	mu    *sync.Mutex // lines of several goroutines must not mix
	out   io.Writer
	level slog.Level
	group string   // of the attributes to come, "" or "name."
	attrs []string // of the logger, as they are written
}

func newLogHandler(out io.Writer, level slog.Level) *logHandler {
	return &logHandler{mu: new(sync.Mutex), out: out, level: level}
}

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	more := *h
	more.attrs = append([]string{}, h.attrs...)
	for _, a := range attrs {
		more.attrs = appendAttr(more.attrs, h.group, a)
	}
	return &more
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	more := *h
	if name != "" {
		more.group += name + "."
	}
	return &more
}

// Handle implements slog.Handler.
func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	attrs := append([]string{}, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		attrs = appendAttr(attrs, h.group, a)
		return true
	})
	line := levelName(r.Level) + ": " + r.Message
	if len(attrs) > 0 {
		line += " (" + strings.Join(attrs, ", ") + ")"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.out, printable(line)+"\n")
	return err
}

func levelName(l slog.Level) string {
	if l == slog.LevelWarn {
		return "warning"
	}
	return strings.ToLower(l.String())
}

func appendAttr(list []string, group string, a slog.Attr) []string {
	value := a.Value.Resolve()
	switch {
	case a.Equal(slog.Attr{}):
		return list
	case value.Kind() == slog.KindGroup:
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, inner := range value.Group() {
			list = appendAttr(list, group, inner)
		}
		return list
	}
	return append(list, fmt.Sprintf("%s%s %v", group, a.Key, value))
}

// printable keeps what comes from outside, such as a server's words, on its line
// and from moving the cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}
