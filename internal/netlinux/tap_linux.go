package netlinux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

const (
	tunPath = "/dev/net/tun"
	// tapFlags are those that Firecracker opens a TAP with (src/devices/src/virtio/net/tap.rs);
	// the kernel refuses others later.
	tapFlags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
)

// AddTAP makes a TAP that stays when its descriptor is closed, switched off and
// without a mark until [Host.AttachTAP], and returns its index. A user may open it
// who is its owner; 0 is for nobody but those who may administer the network. If
// there is a link of that name the error matches [fs.ErrExist].
func (h *Host) AddTAP(name string, owner int) (index int, err error) {
	index, err = h.addTAP(name, owner)
	if errors.Is(err, unix.EBUSY) { // what the kernel calls it
		err = fmt.Errorf("there is a link of that name: %w", fs.ErrExist)
	}
	err = failed(errcode.TapCreateFailed, "create tap", name, err)
	if _, open := errors.AsType[*fs.PathError](err); open {
		hint(err, "load the kernel module: modprobe tun")
	}
	return index, err
}

func (h *Host) addTAP(name string, owner int) (int, error) {
	// Without IFF_TUN_EXCL the kernel would hand us the TAP of somebody else.
	fd, wanted, err := openTAP(name, tapFlags|unix.IFF_TUN_EXCL)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	if owner > 0 {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, owner); err != nil {
			return 0, os.NewSyscallError("TUNSETOWNER", err)
		}
	}
	index, err := h.index(wanted.Name())
	if err != nil {
		return 0, err
	}
	// Last, so that until here closing the descriptor undoes everything.
	return index, os.NewSyscallError("TUNSETPERSIST", unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1))
}

// openTAP makes a TAP or, if there is one and the flags allow it, attaches to it.
func openTAP(name string, flags uint16) (fd int, wanted *unix.Ifreq, err error) {
	// Not by package os: the descriptor can't be polled before TUNSETIFF.
	fd, err = unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, nil, &fs.PathError{Op: "open", Path: tunPath, Err: err}
	}
	if wanted, err = unix.NewIfreq(name); err == nil {
		wanted.SetUint16(flags)
		err = os.NewSyscallError("TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, wanted))
	}
	if err != nil {
		return 0, nil, errors.Join(err, unix.Close(fd))
	}
	return fd, wanted, nil
}

// OwnTAP says which user may open a TAP that nobody has open. A link that is there no
// more, or is another one, is left alone; the error matches [fs.ErrNotExist] then.
func (h *Host) OwnTAP(l Link, owner int) error {
	now, err := h.Link(l.Name)
	if err == nil && now.Index != l.Index {
		err = fs.ErrNotExist
	}
	if err == nil {
		err = ownTAP(l.Name, owner)
	}
	return failed(errcode.TapCreateFailed, "change owner of tap", l.Name, err)
}

func ownTAP(name string, owner int) error {
	fd, _, err := openTAP(name, tapFlags)
	if err != nil {
		return err
	}
	return errors.Join(os.NewSyscallError("TUNSETOWNER", unix.IoctlSetInt(fd, unix.TUNSETOWNER, owner)), unix.Close(fd))
}

// AttachTAP makes a TAP, or the end of a wire, a port of a bridge, gives it its mark and
// switches it on. The error matches [fs.ErrNotExist] if the bridge is gone. After an
// error the link is to be deleted.
func (h *Host) AttachTAP(p Port) error {
	err := h.attachTAP(p)
	if errors.Is(err, unix.EINVAL) { // what the kernel says of a bridge that does not exist, among others
		if _, missing := h.linkByIndex(p.Bridge); errors.Is(missing, fs.ErrNotExist) {
			err = fmt.Errorf("the bridge is gone: %w", missing)
		}
	}
	err = failed(errcode.TapCreateFailed, "attach tap", fmt.Sprintf("link %d", p.Index), err)
	if errors.Is(err, unix.EXFULL) {
		hint(err, "a bridge has 1,023 ports at most: use another network for further VMs")
	}
	return err
}

func (h *Host) attachTAP(p Port) error {
	// It is off until its port is isolated. That takes a second message, since the
	// kernel looks at what it knows of ports before it makes one.
	parts := []nl.NetlinkRequestData{
		linkHeader(p.Index),
		nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(p.Bridge))),
		nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(p.MTU))),
		nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(p.Mark)),
	}
	if p.Wire { // which was in the mark's provisional group
		parts = append(parts, nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(0)))
	}
	if err := h.route.change(unix.RTM_NEWLINK, 0, parts...); err != nil {
		return err
	}
	parts = []nl.NetlinkRequestData{linkUp(p.Index)}
	if p.Isolated {
		parts = append(parts, portInfo())
	}
	return h.route.change(unix.RTM_NEWLINK, 0, parts...)
}

// portInfo isolates a port. The kernel does it before it switches the link on,
// which is in the same message.
func portInfo() *nl.RtAttr {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil)
	data.AddRtAttr(nl.IFLA_BRPORT_ISOLATED, nl.Uint8Attr(1))
	return info
}
