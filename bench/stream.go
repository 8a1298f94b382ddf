package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"runtime"

	"github.com/vishvananda/netlink"

	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

const (
	siteMTU     = 1500
	streamBlock = 256 << 10
)

// forwarding is a guest and an internet with the host between them. The guest's
// cable is plugged in as its TAP would be: a TAP needs a program behind it, which
// would be what is measured.
type forwarding struct {
	site            *site
	guest, internet *namespace
	listener        net.Listener
	served          chan error
	size            int64 // of each stream, in bytes
}

// stream measures what a policy costs those whose packets pass through it.
func (s *site) stream(ctx context.Context) (err error) {
	f := &forwarding{site: s}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.open(ctx); err != nil {
		return err
	}
	for _, kind := range []struct {
		name string
		mib  int64
		one  bool
	}{{"offloads", 4, false}, {"one packet for each segment", 1, true}} {
		if err := f.guest.do(func() error { return setSegments(kind.one) }); err != nil {
			return err
		}
		f.size = kind.mib * int64(s.opts.stream) * mib
		task := fmt.Sprintf("stream of %d MiB, %s", f.size/mib, kind.name)
		ways := []networkWay{
			{name: "no policy", run: f.send},
			{name: fmt.Sprint(policyRules, " rules"), what: "all of them are passed, none matches", run: f.send, judged: true},
		}
		for i, p := range []*netconfig.Policy{nil, policy()} {
			plan, err := s.plan(ctx, p)
			if err != nil {
				return err
			}
			ways[i].prepare = func(ctx context.Context) error { return f.enforce(ctx, plan.Tables[:1]) }
			if p != nil {
				ways[i].discard = func(context.Context) error { return f.passed(p) }
			}
		}
		took, err := s.turns(ctx, task, ways, s.opts.n)
		if err != nil {
			return err
		}
		s.addStream(task, ways, took, f.size)
	}
	return nil
}

func (f *forwarding) open(ctx context.Context) (err error) {
	if f.guest, err = newNamespace(); err != nil {
		return err
	}
	if f.internet, err = newNamespace(); err != nil {
		return err
	}
	g, c := siteGuestWith(nil), siteConfig(nil)
	err = errors.Join(
		addWire(siteTAP, f.guest, g.MAC[:], netip.PrefixFrom(g.Addr, c.Subnet.Bits()).String()),
		addWire(uplinkName, f.internet, nil, internetAddr),
		setUp(uplinkName, uplinkAddr),
	)
	if err != nil {
		return err
	}
	err = errors.Join(
		addDefaultRoute(netip.MustParsePrefix(internetAddr).Addr()),
		f.plug(ctx),
		f.guest.do(func() error { return addDefaultRoute(c.Gateway()) }),
	)
	if err != nil {
		return err
	}
	return f.serve()
}

// plug puts the guest on the network.
func (f *forwarding) plug(ctx context.Context) error {
	s := f.site
	link, err := s.host.Link(siteTAP)
	if err != nil {
		return err
	}
	plan, err := s.plan(ctx, nil)
	if err != nil {
		return err
	}
	for _, setting := range plan.Sysctls {
		err := s.host.SetSysctl(setting.Path, setting.Value)
		if err != nil && (!setting.Optional || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return errors.Join(
		s.host.Replace(plan.Tables),
		s.host.AttachTAP(netlinux.Port{Index: link.Index, Bridge: s.bridge, MTU: plan.Bridge.MTU, Mark: s.mark(), Isolated: true}),
	)
}

// serve takes streams in the internet and acknowledges each with a byte.
func (f *forwarding) serve() error {
	addr := netip.AddrPortFrom(netip.MustParsePrefix(internetAddr).Addr(), 0)
	err := f.internet.do(func() (err error) {
		f.listener, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(addr))
		return err
	})
	if err != nil {
		return err
	}
	f.served = make(chan error, 1)
	go func() { f.served <- f.receiveAll() }()
	return nil
}

func (f *forwarding) receiveAll() error {
	buf := make([]byte, streamBlock)
	for {
		conn, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		for err == nil {
			_, err = conn.Read(buf)
		}
		if errors.Is(err, io.EOF) {
			_, err = conn.Write(buf[:1])
		}
		if err := errors.Join(err, conn.Close()); err != nil {
			return err
		}
	}
}

// enforce replaces the tables. What that leaves to do, to the kernel and to the
// collector of this process's garbage, is none of a stream's cost: it is done before.
func (f *forwarding) enforce(ctx context.Context, tables []ruleset.Table) error {
	const settled = 1 << 20
	if err := f.site.host.Replace(tables); err != nil {
		return err
	}
	runtime.GC()
	return f.sendBytes(ctx, settled)
}

func (f *forwarding) send(ctx context.Context) error { return f.sendBytes(ctx, f.size) }

// sendBytes sends one stream from the guest and waits until all of it has come.
func (f *forwarding) sendBytes(ctx context.Context, size int64) (err error) {
	var conn net.Conn
	err = f.guest.do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp4", f.listener.Addr().String())
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return fmt.Errorf("a %T is no TCP connection", conn)
	}
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	defer stop()
	block := make([]byte, streamBlock)
	for range size / streamBlock {
		if _, err := tcp.Write(block); err != nil {
			return err
		}
	}
	if err := tcp.CloseWrite(); err != nil {
		return err
	}
	_, err = io.ReadFull(tcp, block[:1])
	return err
}

// passed checks that the stream was what the policy's default decided about.
func (f *forwarding) passed(p *netconfig.Policy) error {
	for _, set := range netplan.RuleCounters(p) {
		counts, err := f.site.host.SetCounts(ruleset.Inet, netplan.TableName(siteBridge), set)
		if err != nil {
			return err
		}
		if c := counts[netplan.RuleComment(-1)]; c.Bytes > uint64(f.size) {
			return nil
		}
	}
	return errors.New("the stream did not pass through the policy")
}

// close undoes what open has done, as far as it has come: the wires before the
// namespaces, which would take them along at some later time.
func (f *forwarding) close() error {
	var errs []error
	if f.listener != nil {
		errs = append(errs, f.listener.Close(), <-f.served)
	}
	for _, name := range []string{siteTAP, uplinkName} {
		if link, err := netlink.LinkByName(name); err == nil {
			errs = append(errs, netlink.LinkDel(link))
		}
	}
	for _, n := range []*namespace{f.guest, f.internet} {
		if n != nil {
			errs = append(errs, n.close())
		}
	}
	return errors.Join(append(errs, f.site.host.RemoveTables(netplan.TableName(siteBridge), f.site.mark()))...)
}
