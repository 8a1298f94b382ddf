package netlinux

import (
	"errors"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// Namespace is a network namespace of nobody: it lasts as long as its file is open, or a
// process is in it, and takes with it what was made there. Links that are made in it have no
// IPv6. It is safe for concurrent use, but for Close.
type Namespace struct {
	file *os.File
	// host has the sockets alone that the methods need: a socket stays where it was opened.
	host Host
}

// noIPv6 is a setting of a namespace: what is made there after it has no IPv6.
const noIPv6 = "net/ipv6/conf/default/disable_ipv6"

// NewNamespace makes an empty one.
func NewNamespace() (*Namespace, error) {
	ns := &Namespace{}
	if err := proc.OnThread(ns.open); err != nil {
		return nil, failed(errcode.NetworkFailed, "make", "network namespace", errors.Join(err, ns.Close()))
	}
	return ns, nil
}

// open makes the namespace around the calling thread.
func (n *Namespace) open() (err error) {
	if n.file, err = proc.EnterNewNetwork(); err != nil {
		return err
	}
	if err := n.host.SetSysctl(noIPv6, "1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if n.host.route, err = openSocket(); err != nil {
		return err
	}
	return n.host.nft.stay()
}

// File is what a thread enters the namespace by, with setns(2). It is closed by Close.
func (n *Namespace) File() *os.File { return n.file }

// Close closes the sockets and the file.
func (n *Namespace) Close() error {
	err := n.host.Close()
	if n.file != nil {
		err = errors.Join(err, n.file.Close())
	}
	return err
}

// AddTAP is [Host.AddTAP] in the namespace.
func (n *Namespace) AddTAP(name string, owner int) error {
	return n.within(func() error {
		_, err := n.host.AddTAP(name, owner)
		return err
	})
}

// OwnTAP says which user may open a TAP in the namespace.
func (n *Namespace) OwnTAP(name string, owner int) error {
	return n.within(func() error {
		return failed(errcode.TapCreateFailed, "change owner of tap", name, ownTAP(name, owner))
	})
}

// within calls f on a thread in the namespace: a TAP is where the thread is.
func (n *Namespace) within(f func() error) error {
	return proc.OnThread(func() error {
		if err := proc.EnterNetwork(n.file); err != nil {
			return failed(errcode.NetworkFailed, "enter", "network namespace", err)
		}
		return f()
	})
}

// Make is [Host.Make] in the namespace.
func (n *Namespace) Make(table ruleset.Table) error { return n.host.Make(table) }

// SwitchOn switches a link in the namespace on.
func (n *Namespace) SwitchOn(name string) error {
	err := n.host.route.change(unix.RTM_NEWLINK, 0, linkUp(0), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	return failed(errcode.TapCreateFailed, "switch on link", name, err)
}
