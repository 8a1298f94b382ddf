package netlinux_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/nettest"
)

func TestSysctlIsReadAndChangedInTheNamespace(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		someLink(t, "eth0.5", "", 1500)
		for _, path := range []string{"net/ipv4/ip_forward", "net/ipv4/conf/eth0.5/route_localnet"} {
			for _, want := range []string{"1", "0"} {
				must(t, h.SetSysctl(path, want))
				if got, err := h.Sysctl(path); err != nil || got != want {
					t.Errorf("%s: %q, %v; want %s", path, got, err, want)
				}
			}
		}
	})
}

func TestSysctlRefusesOtherPaths(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		for path, want := range map[string]error{
			"kernel/hostname":                 fs.ErrInvalid,
			"net/../kernel/hostname":          fs.ErrInvalid,
			"/proc/sys/net/ipv4/ip_forward":   fs.ErrInvalid,
			"net.ipv4.ip_forward":             fs.ErrInvalid,
			"net/ipv4//ip_forward":            fs.ErrInvalid,
			"":                                fs.ErrInvalid,
			"net/ipv4/conf/gone0/forwarding":  fs.ErrNotExist,
			"net/ipv4/ip_forward/../tcp_sack": fs.ErrInvalid,
		} {
			if text, err := h.Sysctl(path); !errors.Is(err, want) || !errors.Is(err, errcode.NetworkFailed) {
				t.Errorf("read %q: %q, %v", path, text, err)
			}
			if err := h.SetSysctl(path, "1"); !errors.Is(err, want) {
				t.Errorf("set %q: %v", path, err)
			}
		}
		if err := h.SetSysctl("net/ipv4/ip_forward", "maybe"); !errors.Is(err, errcode.NetworkFailed) {
			t.Errorf("a value that the kernel refuses: %v", err)
		}
	})
}
