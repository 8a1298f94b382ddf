package netlinux

import (
	"context"
	"errors"
	"io/fs"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

// DeleteLink removes a link that has the given mark, and returns when it is gone.
// Index tells it from a later link of the same name; 0 is not known. There is
// nothing to do, and nil is returned, if there is no such link or if it has
// another mark: then it is somebody else's.
//
// A link that its maker could not give its mark any more is removed as well: a TAP
// of that name that has no alias, is no port and that no process has open, or a
// link of another kind in the mark's provisional group.
//
// The kernel takes 15 ms to remove a link, and hardly longer to remove many at
// once. So calls at the same time, also on different Hosts of the process, share
// the wait. If ctx ends first, the call returns and the deletion goes on.
func (h *Host) DeleteLink(ctx context.Context, name string, index int, mark string) error {
	const op = "delete link"
	if err := context.Cause(ctx); err != nil {
		return failed(errcode.Cancelled, op, name, err)
	}
	l, err := h.marked(name, index, mark)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failed(errcode.NetworkFailed, op, name, err)
	}
	b, err := joinBatch(h.namespace)
	if err != nil {
		return failed(errcode.NetworkFailed, op, name, err)
	}
	err = h.route.change(unix.RTM_SETLINK, 0, linkHeader(l.Index), nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(b.group)))
	b.joining.Done()
	if errors.Is(err, unix.ENODEV) { // deleted meanwhile
		return nil
	}
	if err != nil {
		return failed(errcode.NetworkFailed, op, name, err)
	}
	select {
	case <-b.done:
		return failed(errcode.NetworkFailed, op, name, b.err)
	case <-ctx.Done():
		return failed(errcode.Cancelled, op, name, context.Cause(ctx))
	}
}

// marked returns the link if it is there and its mark is the given one.
func (h *Host) marked(name string, index int, mark string) (link, error) {
	var l link
	var err error
	if index != 0 {
		l, err = h.linkByIndex(index)
	} else {
		l, err = h.linkByName(name)
	}
	switch {
	case err != nil:
		return link{}, err
	case l.Alias == mark && mark != "":
		return l, nil
	case l.Name == name && l.unfinished(mark):
		return l, nil
	}
	return link{}, fs.ErrNotExist
}

// unfinished reports whether a link is one whose maker was killed before it could
// give it its mark.
func (l link) unfinished(mark string) bool {
	if l.Alias != "" {
		return false
	}
	if l.Kind == "tun" { // made without a message, so in no group
		return l.Master == 0 && !l.Carrier
	}
	return l.group == provisionalGroup(mark)
}
