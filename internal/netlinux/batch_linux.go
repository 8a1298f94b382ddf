package netlinux

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// batch is links that are deleted by one message: they are in one group.
type batch struct {
	group uint32
	// joining counts those who give their link the group right now.
	joining sync.WaitGroup
	// done is closed after the deletion; then err can be read.
	done chan struct{}
	err  error
}

// deleter deletes the batches of a network namespace, one after the other: the
// next gathers meanwhile.
type deleter struct {
	socket *socket // of its own, so that others need not wait for a deletion
	next   *batch  // nil: nobody has joined yet. Guarded by deleters
}

// deleters has those that are at work, by network namespace. They belong to the
// process and not to a Host, since the parts of a program that release links
// have a Host each.
var deleters = struct {
	sync.Mutex
	of map[uint64]*deleter
}{of: map[uint64]*deleter{}}

// joinBatch returns the batch that gathers now. The caller gives its link the
// group, says batch.joining.Done, and waits for the batch's end.
func joinBatch(of uint64) (*batch, error) {
	deleters.Lock()
	defer deleters.Unlock()
	d := deleters.of[of]
	fresh := d == nil
	if fresh {
		var err error
		if d, err = newDeleter(of); err != nil {
			return nil, err
		}
	}
	if d.next == nil {
		d.next = &batch{group: randomGroup(), done: make(chan struct{})}
	}
	d.next.joining.Add(1)
	if fresh {
		deleters.of[of] = d
		go d.run(of)
	}
	return d.next, nil
}

func newDeleter(of uint64) (*deleter, error) {
	here, err := namespace()
	if err != nil {
		return nil, err
	}
	if here != of { // it would delete a group that does not exist, and say that it is gone
		return nil, errors.New("this thread is in another network namespace than the host was opened in")
	}
	s, err := openSocket()
	return &deleter{socket: s}, err
}

// run deletes batches until nobody has joined one.
func (d *deleter) run(of uint64) {
	defer d.socket.close()
	for b := d.take(of); b != nil; b = d.take(of) {
		b.joining.Wait()
		b.err = d.socket.change(unix.RTM_DELLINK, 0, linkHeader(0), nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(b.group)))
		if errors.Is(b.err, unix.ENODEV) { // somebody else was faster
			b.err = nil
		}
		if b.err != nil {
			b.err = fmt.Errorf("link group %d: %w", b.group, b.err)
		}
		close(b.done)
	}
}

// take closes the batch that gathered. Nil: there is none, and the deleter is no
// longer in the list.
func (d *deleter) take(of uint64) *batch {
	deleters.Lock()
	defer deleters.Unlock()
	b := d.next
	d.next = nil
	if b == nil {
		delete(deleters.of, of)
	}
	return b
}

// randomGroup returns a group of 31 bits, which nobody else uses: people number
// their groups from 1.
func randomGroup() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // it never fails
	return binary.NativeEndian.Uint32(b[:])>>1 | 1<<30
}
