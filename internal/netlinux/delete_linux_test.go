package netlinux_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/nettest"
)

func TestDeleteRemovesALinkOfOursOnceAndForAll(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		to := addBridge(t, h, "br0")
		for _, index := range []int{0, addPort(t, h, "tap0", to)} {
			addPort(t, h, "tap1", to)
			for _, name := range []string{"tap0", "tap1", "tap1"} {
				if name == "tap1" {
					index = 0
				}
				must(t, h.DeleteLink(t.Context(), name, index, mark))
				if look(t, name) != nil {
					t.Errorf("%s is still there", name)
				}
			}
		}
		must(t, h.DeleteLink(t.Context(), "br0", to, mark))
		if look(t, "br0") != nil {
			t.Error("the bridge is still there")
		}
	})
}

func TestDeleteLeavesAloneWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		to := addBridge(t, h, "br0")
		mine := addPort(t, h, "mine", to)
		// Those of another smartvm, and of other programs.
		theirs, err := h.AddTAP("theirs", 0)
		must(t, err)
		must(t, h.AttachTAP(netlinux.Port{Index: theirs, Bridge: to, MTU: 1400, Mark: foreign}))
		must(t, openPersistent(t, "port"))
		must(t, netlink.LinkSetMaster(look(t, "port"), look(t, "br0")))
		openTAP(t, "used")
		must(t, openPersistent(t, "named"))
		must(t, netlink.LinkSetAlias(look(t, "named"), "a database's"))
		must(t, openPersistent(t, "idle"))
		someLink(t, "veth0", "", 1500)
		_, err = h.AddBridge(bridge("br1"), foreign)
		must(t, err)

		for _, tt := range []struct {
			name  string
			index int
		}{
			{"theirs", 0},
			{"theirs", theirs},
			{"port", 0},
			{"used", 0},
			{"used", look(t, "used").Attrs().Index},
			{"named", 0},
			{"veth0", 0},
			{"veth0", look(t, "veth0").Attrs().Index},
			{"br1", 0},
			{"mine", mine + 1000}, // made anew since
			{"mine", theirs},
			{"idle", mine + 1000},
			{"tap7", look(t, "idle").Attrs().Index}, // without our mark the name has to be right
			{"lo", 1},
			{"absent", 0},
		} {
			if err := h.DeleteLink(t.Context(), tt.name, tt.index, mark); err != nil {
				t.Errorf("%v: %v", tt, err)
			}
		}
		for _, name := range []string{"br0", "mine", "theirs", "port", "used", "named", "idle", "veth0", "br1", "lo"} {
			l := look(t, name)
			if l == nil {
				t.Errorf("%s is gone", name)
			} else if l.Attrs().Group != 0 {
				t.Errorf("%s is in group %d", name, l.Attrs().Group)
			}
		}
	})
}

func addTAPAndDie([]string) error {
	h, err := netlinux.Open()
	if err != nil {
		return err
	}
	if _, err := h.AddTAP("tap0", 0); err != nil {
		return err
	}
	return unix.Kill(os.Getpid(), unix.SIGKILL)
}

func TestDeleteRemovesATAPWhoseMakerWasKilledBeforeItsMark(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		for _, known := range []bool{false, true} {
			if err := play(t, "add tap and die").Run(); err == nil {
				t.Fatal("it was not killed")
			}
			l, err := h.Link("tap0")
			must(t, err)
			index := 0
			if known {
				index = l.Index
			}
			must(t, h.DeleteLink(t.Context(), "tap0", index, mark))
			if look(t, "tap0") != nil {
				t.Errorf("index known %t: it is still there", known)
			}
		}
	})
}

func TestDeleteRemovesALinkWhoseMakerWasKilledBeforeItsMark(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		for _, owner := range []string{mark, foreign} {
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.Group = "br0", netlinux.ProvisionalGroup(owner)
			must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
			must(t, h.DeleteLink(t.Context(), "br0", 0, mark))
			if gone := look(t, "br0") == nil; gone != (owner == mark) {
				t.Errorf("of %s: gone %t", owner, gone)
			}
		}
	})
}

func TestDeletionsAtTheSameTimeShareAFewGroupDeletions(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) { // not parallel: it looks for what is left
		hosttest.Residue(t)
		const taps = 500
		hosts := []*netlinux.Host{open(t), open(t)}
		to := addBridge(t, hosts[0], "br0")
		indexes := make([]int, taps)
		for i := range taps {
			indexes[i] = addPort(t, hosts[0], fmt.Sprint("tap", i), to)
		}
		addPort(t, hosts[0], "stays", to)
		news, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
		must(t, err)
		defer news.Close()
		must(t, news.SetReceiveBufferSize(64<<20, true))

		errs := make([]error, taps)
		var all sync.WaitGroup
		for i := range taps {
			all.Go(func() {
				errs[i] = hosts[i%2].DeleteLink(t.Context(), fmt.Sprint("tap", i), indexes[i], mark)
				if look(t, fmt.Sprint("tap", i)) != nil {
					t.Errorf("tap%d was there after its deletion", i)
				}
			})
		}
		all.Wait()
		must(t, errors.Join(errs...))
		links, err := hosts[0].Links()
		must(t, err)
		for _, l := range links {
			if l.Kind == "tun" && l.Name != "stays" {
				t.Errorf("%s is left", l.Name)
			}
		}
		groups, gone := deletedGroups(t, news, taps)
		if gone != taps || len(groups) > 20 {
			t.Errorf("%d links went in %d groups", gone, len(groups))
		}
		t.Logf("%d links in %d groups", gone, len(groups))
		for _, l := range []string{"stays", "br0"} {
			must(t, hosts[0].DeleteLink(t.Context(), l, 0, mark))
		}
	})
}

// deletedGroups reads news of links until as many are deleted as wanted.
func deletedGroups(tb testing.TB, news *nl.NetlinkSocket, want int) (groups map[string]bool, gone int) {
	tb.Helper()
	groups = map[string]bool{}
	for gone < want {
		messages, _, err := news.Receive()
		must(tb, err)
		for _, m := range messages {
			if m.Header.Type != unix.RTM_DELLINK || nl.DeserializeIfInfomsg(m.Data).Family != unix.AF_UNSPEC {
				continue
			}
			gone++
			groups[fmt.Sprint(attributes(tb, m.Data[unix.SizeofIfInfomsg:], unix.IFLA_GROUP))] = true
		}
	}
	return groups, gone
}

func TestDeletionGoesOnWhenItsCallerNoLongerWaits(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) { // not parallel: it looks for what is left
		hosttest.Residue(t)
		h, err := netlinux.Open()
		must(t, err)
		to := addBridge(t, h, "br0")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		tap := addPort(t, h, "tap0", to)
		if err := h.DeleteLink(ended, "tap0", tap, mark); !errors.Is(err, context.Canceled) || !errors.Is(err, errcode.Cancelled) {
			t.Errorf("got %v", err)
		}
		if look(t, "tap0") == nil {
			t.Error("deleted though nobody wanted it any more")
		}
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- h.DeleteLink(ctx, "tap0", tap, mark) }()
		eventually(t, "it is in a group or gone", func() bool {
			l := look(t, "tap0")
			return l == nil || l.Attrs().Group != 0
		})
		cancel()
		if err := <-result; err != nil && !errors.Is(err, errcode.Cancelled) {
			t.Errorf("got %v", err)
		}
		must(t, h.DeleteLink(t.Context(), "br0", to, mark))
		must(t, h.Close())
		eventually(t, "it is gone", func() bool { return look(t, "tap0") == nil })
	})
}
