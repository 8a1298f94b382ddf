package cli

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"
)

func TestLogLinesAreForPeople(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(newLogHandler(&out, slog.LevelInfo))
	log.Warn("base image evicted", slog.String("bundle", "debian-12"), slog.Int("retention", 2))
	log.Info("a VM ended by itself")
	log.Debug("not shown")
	log.With(slog.String("vm", "web")).WithGroup("download").Error("failed",
		slog.Any("err", errors.New("it says \x1b[2J\r\nhint: run me")), slog.Duration("wait", time.Second))
	want := "warning: base image evicted (bundle debian-12, retention 2)\n" +
		"info: a VM ended by itself\n" +
		"error: failed (vm web, download.err it says  [2J  hint: run me, download.wait 1s)\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
