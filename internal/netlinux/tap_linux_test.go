package netlinux_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/nettest"
)

func TestTAPIsOffAndStaysUntilFirecrackerOpensIt(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		index, err := h.AddTAP("tap0", 0)
		must(t, err)
		got, err := h.Link("tap0")
		must(t, err)
		if diff := cmp.Diff(netlinux.Link{Name: "tap0", Owner: -1, Index: index, Kind: "tun", MTU: 1500}, got); diff != "" {
			t.Error(diff)
		}
		must(t, openTAP(t, "tap0").Close())
		if now, err := h.Link("tap0"); err != nil || now.Index != index {
			t.Errorf("closed: %+v, %v", now, err)
		}
	})
}

func TestTAPDoesNotTakeOverALinkOfItsName(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		someLink(t, "other0", "", 1500)
		openTAP(t, "other1")
		must(t, openPersistent(t, "other2"))
		_, err := h.AddTAP("other3", 0)
		must(t, err)
		for i := range 4 {
			name := fmt.Sprint("other", i)
			before := look(t, name).Attrs().Index
			if _, err := h.AddTAP(name, 0); !errors.Is(err, fs.ErrExist) || !errors.Is(err, errcode.TapCreateFailed) {
				t.Errorf("%s: %v", name, err)
			}
			if look(t, name).Attrs().Index != before {
				t.Errorf("%s was made anew", name)
			}
		}
	})
}

// openPersistent makes a TAP of somebody else that nobody has open.
func openPersistent(tb testing.TB, name string) error {
	tb.Helper()
	f := openTAP(tb, name)
	return errors.Join(unix.IoctlSetInt(int(f.Fd()), unix.TUNSETPERSIST, 1), f.Close())
}

func TestPortIsIsolatedBeforeItIsUp(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		to := addBridge(t, h, "br0")
		news, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
		must(t, err)
		defer news.Close()
		index := addPort(t, h, "tap0", to)
		must(t, netlink.LinkSetTxQLen(look(t, "br0"), 77)) // the last news
		ups := 0
		for {
			messages, _, err := news.Receive()
			must(t, err)
			for _, m := range messages {
				head := nl.DeserializeIfInfomsg(m.Data)
				if head.Index == int32(to) && head.Family == unix.AF_UNSPEC && strings.Contains(fmt.Sprint(attributes(t, m.Data[unix.SizeofIfInfomsg:], unix.IFLA_TXQLEN)), "77") {
					if ups == 0 {
						t.Error("it was never up")
					}
					return
				}
				if head.Index != int32(index) || head.Flags&unix.IFF_UP == 0 || head.Family != unix.AF_UNSPEC {
					continue
				}
				ups++
				if isolated := infoOf(t, m.Data, nl.IFLA_INFO_SLAVE_DATA)[nl.IFLA_BRPORT_ISOLATED]; len(isolated) != 1 || isolated[0] != 1 {
					t.Errorf("up, with isolated %v", isolated)
				}
			}
		}
	})
}

func TestFramesDoNotPassBetweenIsolatedPorts(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		to := addBridge(t, h, "br0")
		for i, alone := range []bool{true, true, false} {
			index, err := h.AddTAP(fmt.Sprint("tap", i), 0)
			must(t, err)
			must(t, h.AttachTAP(netlinux.Port{Index: index, Bridge: to, MTU: 1400, Mark: mark, Isolated: alone}))
			got, err := h.Link(fmt.Sprint("tap", i))
			must(t, err)
			if want := (netlinux.Link{
				Owner: -1,
				Name:  fmt.Sprint("tap", i), Index: index, Alias: mark, Kind: "tun", MTU: 1400, Master: to, Up: true,
			}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		first, second, open := openTAP(t, "tap0"), openTAP(t, "tap1"), openTAP(t, "tap2")
		for _, name := range []string{"tap0", "tap1", "tap2"} {
			eventually(t, name+" forwards", func() bool {
				return bytes.Equal(linkData(t, name, nl.IFLA_INFO_SLAVE_DATA)[nl.IFLA_BRPORT_STATE], []byte{3})
			})
		}
		ether(t, first, 1, "from the first")
		ether(t, open, 3, "from the open one")
		if got := nextText(t, second); got != "from the open one" {
			t.Errorf("the second port got what came %s", got)
		}
		if got := nextText(t, open); got != "from the first" {
			t.Errorf("the open port got what came %s", got)
		}
	})
}

func TestAttachSaysThatTheBridgeIsGone(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		index, err := h.AddTAP("tap0", 0)
		must(t, err)
		err = h.AttachTAP(netlinux.Port{Index: index, Bridge: index + 1000, MTU: 1400, Mark: mark})
		if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, errcode.TapCreateFailed) {
			t.Errorf("got %v", err)
		}
		to := addBridge(t, h, "br0")
		err = h.AttachTAP(netlinux.Port{Index: index, Bridge: to, MTU: 3, Mark: mark})
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("impossible MTU: got %v", err)
		}
	})
}

func TestAttachSaysThatTheBridgeIsFull(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		to := addBridge(t, h, "br0")
		for i := range 1023 {
			addPort(t, h, fmt.Sprint("tap", i), to)
		}
		index, err := h.AddTAP("last", 0)
		must(t, err)
		err = h.AttachTAP(netlinux.Port{Index: index, Bridge: to, MTU: 1400, Mark: mark})
		if e, ok := errors.AsType[*errcode.Error](err); !ok || e.Code != errcode.TapCreateFailed || !strings.Contains(e.Hint, "1,023") {
			t.Errorf("got %v", err)
		}
	})
}

func TestTAPBelongsToItsOwnerUntilItIsGivenAway(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		_, err := h.AddTAP("tap0", 1000)
		must(t, err)
		got, err := h.Link("tap0")
		must(t, err)
		if got.Owner != 1000 {
			t.Errorf("its owner is %d", got.Owner)
		}
		must(t, h.OwnTAP(got, 2000))
		if now, err := h.Link("tap0"); err != nil || now.Owner != 2000 {
			t.Errorf("after it was given away: %+v, %v", now, err)
		}
		got.Index++ // a TAP that was there before
		if err := h.OwnTAP(got, 3000); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("another TAP of that name: %v", err)
		}
		got.Name = "tap1"
		if err := h.OwnTAP(got, 3000); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a TAP that is not there: %v", err)
		}
	})
}
