package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"

	"github.com/smartvm/smartvm/internal/netlinux"
)

// tapWays makes the ways to make and to delete TAPs.
type tapWays struct {
	site  *site
	raw   *rawLinks
	made  []int // indexes of smartvm's
	names []string
}

// taps measures single TAPs, and batches of them one after the other.
func (s *site) taps(ctx context.Context) (err error) {
	raw, err := openRawLinks(s.bridge)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.close()) }()
	for _, n := range slices.Compact([]int{1, max(1, s.opts.taps/5), s.opts.taps}) {
		w := &tapWays{site: s, raw: raw}
		for i := range n {
			w.names = append(w.names, fmt.Sprint("tap", i))
		}
		rounds := s.opts.rounds
		if n == 1 {
			rounds = s.opts.n
		}
		task := fmt.Sprintf("make a TAP, 1 of %d", n)
		took, err := s.turns(ctx, task, w.making(), rounds)
		if err != nil {
			return err
		}
		s.add(partTAPs, task, w.making(), perItem(took, n))
		if n < s.opts.taps {
			continue
		}
		task = fmt.Sprintf("delete %d TAPs", n)
		if took, err = s.turns(ctx, task, w.deleting(), rounds); err != nil {
			return err
		}
		s.add(partDelete, task, w.deleting(), took)
	}
	return nil
}

func perItem(took [][]float64, n int) [][]float64 {
	for _, samples := range took {
		for i := range samples {
			samples[i] /= float64(n)
		}
	}
	return took
}

func (w *tapWays) making() []networkWay {
	return []networkWay{
		{name: "raw", what: "three system calls and one message that attaches it and sets it up", run: w.addRaw, discard: w.removeRaw},
		{name: methodSelf, what: "AddTAP, AttachTAP: with MTU and mark, isolated from other ports", run: w.add, discard: w.remove, judged: true},
		{name: "netlink", what: "the functions of vishvananda/netlink: LinkAdd, LinkSetMaster, LinkSetUp", run: w.addNetlink, discard: w.removeNetlink},
	}
}

func (w *tapWays) deleting() []networkWay {
	return []networkWay{
		{name: "raw", what: "one message for their group", prepare: w.addRaw, run: w.removeRaw},
		{name: methodSelf, what: "DeleteLink from a goroutine for each", prepare: w.add, run: w.remove, judged: true},
	}
}

func (w *tapWays) addRaw(context.Context) error {
	for _, name := range w.names {
		if err := w.raw.add(name); err != nil {
			return err
		}
	}
	return nil
}

func (w *tapWays) removeRaw(context.Context) error { return w.raw.removeAll() }

func (w *tapWays) add(context.Context) error {
	s := w.site
	w.made = w.made[:0]
	for _, name := range w.names {
		index, err := s.host.AddTAP(name, 0)
		if err != nil {
			return err
		}
		w.made = append(w.made, index)
		err = s.host.AttachTAP(netlinux.Port{Index: index, Bridge: s.bridge, MTU: siteMTU, Mark: s.mark(), Isolated: true})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *tapWays) remove(ctx context.Context) error {
	errs := make([]error, len(w.made))
	var all sync.WaitGroup
	for i, index := range w.made {
		all.Go(func() { errs[i] = w.site.host.DeleteLink(ctx, w.names[i], index, w.site.mark()) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (w *tapWays) addNetlink(context.Context) error {
	bridge, err := netlink.LinkByIndex(w.site.bridge)
	if err != nil {
		return err
	}
	for _, name := range w.names {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		tap := &netlink.Tuntap{
			LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP,
			Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR | netlink.TUNTAP_TUN_EXCL,
		}
		err := netlink.LinkAdd(tap)
		if err == nil {
			err = netlink.LinkSetMaster(tap, bridge)
		}
		if err == nil {
			err = netlink.LinkSetUp(tap)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeNetlink is not measured: one after the other they would take 15 ms each.
func (w *tapWays) removeNetlink(ctx context.Context) error {
	for _, name := range w.names {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetGroup(link, rawGroup); err != nil {
			return err
		}
	}
	return w.removeRaw(ctx)
}
