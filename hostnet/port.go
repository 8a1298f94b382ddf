package hostnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/netconfig"
)

// checkPorts refuses ports of the host that lead to another guest, of any network of
// the runtime directory, or that a program of the host listens on: it would no longer
// be reached. The caller holds the lock of the records.
func (p place) checkPorts(ctx context.Context, forwards []netconfig.Forward) error {
	if len(forwards) == 0 {
		return nil
	}
	networks, err := ledger.Names(p.networks())
	if err != nil {
		return err
	}
	for _, bridge := range networks {
		leases, err := placeOf(p.runtime, bridge).readLeases()
		if err != nil {
			return err
		}
		for i := range leases {
			for _, f := range leases[i].Forwards {
				if err := conflict(forwards, f, leases[i].VM); err != nil {
					return err
				}
			}
		}
	}
	for _, f := range forwards {
		if err := tryPort(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func conflict(asked []netconfig.Forward, other netconfig.Forward, vm string) error {
	for _, f := range asked {
		if f.Conflicts(other) {
			return portInUse(f, fmt.Errorf("it leads to vm %s already (%s)", vm, other))
		}
	}
	return nil
}

func portInUse(f netconfig.Forward, err error) error {
	return &errcode.Error{Code: errcode.PortInUse, Op: "forward port", Subject: f.String(), Err: err, Hint: "choose another port of the host"}
}

// tryPort listens for a moment.
func tryPort(ctx context.Context, f netconfig.Forward) error {
	host := f.HostIP
	if !host.IsValid() {
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	address := net.JoinHostPort(host.String(), strconv.Itoa(int(f.HostPort)))
	var config net.ListenConfig
	var err error
	if f.Protocol == netconfig.UDP {
		var c net.PacketConn
		if c, err = config.ListenPacket(ctx, "udp4", address); err == nil {
			return c.Close()
		}
	} else {
		var l net.Listener
		if l, err = config.Listen(ctx, "tcp4", address); err == nil {
			return l.Close()
		}
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return portInUse(f, errors.New("a program of this host listens there, see: ss -nlp"))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return failed(errcode.InvalidConfig, "forward port", f.String(), fmt.Errorf("%s is not an address of this host", host))
	}
	return failed(errcode.NetworkFailed, "forward port", f.String(), err)
}
