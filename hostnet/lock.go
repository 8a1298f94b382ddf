package hostnet

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// Who changes networks takes up to three locks, always in this order:
//
//	the host's    set up and take down networks; one process of the network namespace
//	records       read and change the directories; one of the runtime directory
//	rules         shared: make or remove a single guest's device; exclusive: replace tables
//
// A guest's address is chosen under the lock of the records, which goes to the next
// as soon as the address is taken. Its device and rules are made under the shared lock
// of the rules: whoever replaces tables then knows of all guests what they have.
var (
	records = filelock.Byte(0)
	rules   = filelock.Byte(1)
)

// turns has a channel for each directory of networks, full while a goroutine of this
// process asks for the lock of the records or has it: one asks the kernel again and
// again, the others wait for it. They belong to the process and not to a Network,
// since whoever releases a ledger has none.
var turns sync.Map

func turnOf(networks string) chan struct{} {
	turn, _ := turns.LoadOrStore(networks, make(chan struct{}, 1))
	return turn.(chan struct{}) //nolint:errcheck,forcetypeassert // nothing else is stored
}

// lock is the locks of a runtime directory that somebody holds. It is used by one
// goroutine.
type lock struct {
	file       *os.File
	giveTurn   func() // nil without the lock of the records
	unlockHost func() // nil without the host's lock
}

// lock takes that of the records.
func (p place) lock(ctx context.Context) (*lock, error) {
	f, err := p.openLock()
	if errors.Is(err, fs.ErrNotExist) {
		if err := p.make(); err != nil {
			return nil, err
		}
		f, err = p.openLock()
	}
	if err != nil {
		return nil, failed(errcode.DirectoryFailed, opLock, p.networks(), err)
	}
	l := &lock{file: f}
	turn := turnOf(p.networks())
	select {
	case turn <- struct{}{}:
		l.giveTurn = func() { <-turn }
	case <-ctx.Done():
		l.unlock()
		return nil, failed(errcode.Cancelled, opLock, p.networks(), context.Cause(ctx))
	}
	if err := l.wait(ctx, records, filelock.Exclusive); err != nil {
		l.unlock()
		return nil, err
	}
	return l, nil
}

const opLock = "lock networks"

func (p place) openLock() (*os.File, error) {
	return plainfile.Open(filepath.Join(p.networks(), lockName), unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW)
}

// lockAll takes all of them.
func (p place) lockAll(ctx context.Context, host *netlinux.Host) (*lock, error) {
	unlockHost, err := host.Lock(ctx)
	if err != nil {
		return nil, err
	}
	l, err := p.lock(ctx)
	if err != nil {
		unlockHost()
		return nil, err
	}
	l.unlockHost = unlockHost
	if err := l.wait(ctx, rules, filelock.Exclusive); err != nil {
		l.unlock()
		return nil, err
	}
	return l, nil
}

// locked does something under all locks.
func (p place) locked(ctx context.Context, host *netlinux.Host, do func() error) error {
	l, err := p.lockAll(ctx, host)
	if err != nil {
		return err
	}
	defer l.unlock()
	return do()
}

// keepRecords gives back all but the lock of the records.
func (l *lock) keepRecords() error {
	give(&l.unlockHost)
	return filelock.Release(l.file, rules)
}

// shareRules changes the lock of the records for the shared one of the rules. Nobody
// waits here but for who replaces tables, and who does has the records as well.
func (l *lock) shareRules(ctx context.Context) error {
	if err := l.wait(ctx, rules, filelock.Shared); err != nil {
		return err
	}
	err := filelock.Release(l.file, records)
	give(&l.giveTurn)
	return err
}

// give gives something back once.
func give(back *func()) {
	if *back != nil {
		(*back)()
		*back = nil
	}
}

// unlock gives back what there is. A second call does nothing.
func (l *lock) unlock() {
	_ = filelock.Close(l.file)
	give(&l.giveTurn)
	give(&l.unlockHost)
}

func (l *lock) wait(ctx context.Context, r filelock.Range, kind filelock.Kind) error {
	err := filelock.Wait(ctx, l.file, r, kind)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return failed(errcode.Cancelled, opLock, l.file.Name(), err)
	default:
		return failed(errcode.DirectoryFailed, opLock, l.file.Name(), err)
	}
}
