package netconfig_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

// mistakes returns the details of an error of a code as lines.
func mistakes(tb testing.TB, err error, code errcode.Code) string {
	tb.Helper()
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != code || len(e.Details) == 0 {
		tb.Fatalf("got %v, want an error of the code %s with details", err, code)
	}
	var b strings.Builder
	for _, d := range e.Details {
		b.WriteString(d.String() + "\n")
	}
	return b.String()
}

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func to(text string) netconfig.Destination { return netconfig.Destination{Prefix: prefix(text)} }
