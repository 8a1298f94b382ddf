package smartvm

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/internal/pager"
)

// rolePageServer is the process that serves the memory of a VM, page by page.
const rolePageServer = "page server"

// Names of what it has in the VM's directory.
const (
	pagesSocket = "pages.sock"
	pagesLog    = "page-server.log"
)

// workingSetName is the file beside a snapshot's memory that says which pages the last
// guest has touched.
const workingSetName = "memory.pages"

// guardedPages is the first release whose page server learns of its end, and it of its
// page server's.
var guardedPages = firecracker.Version{Major: 1, Minor: 12}

// chooseMemory decides whether a page server serves the guest's memory: where one was
// asked for and can work here, and where Firecracker can't map the file, because the
// memory is of huge pages (docs/hugepages.md). Else it maps the file, and the log says
// why.
func (l *launch) chooseMemory() error {
	if l.restore == nil {
		return nil
	}
	huge := l.vm.config.Hugetlb()
	if !huge && !l.restore.options.Lazy {
		return nil
	}
	reason := l.noPageServer()
	switch {
	case reason == nil:
		l.served = true
	case huge:
		return &Error{
			Code: errcode.HostUnsupported, Op: "restore snapshot", Subject: l.restore.manifest.Name,
			Err:  fmt.Errorf("its memory is of huge pages, which Firecracker can't map from a file, and no page server can serve it: %w", reason),
			Hint: "make that possible, or take the snapshot of a VM without machine-config.huge_pages",
		}
	default:
		l.vm.manager.log.Warn("no lazy restore: the memory file is mapped", slog.String("vm", l.vm.ID()), slog.Any("reason", reason))
	}
	return nil
}

// startPageServer starts the process that will serve the guest's memory, if one is to.
func (l *launch) startPageServer() error {
	if !l.served {
		return nil
	}
	memory, err := os.Open(l.restore.memory)
	if err != nil {
		return err
	}
	defer memory.Close()
	socket := filepath.Join(l.vm.Dir(), pagesSocket)
	prepared, err := pager.Launch{
		Command: l.vm.manager.opts.PageServer, Socket: socket, Memory: memory, WorkingSet: filepath.Join(l.restore.dir, workingSetName),
		Namespace: l.plan.files.Jail != nil, Log: filepath.Join(l.vm.Dir(), pagesLog),
	}.Prepare()
	if err != nil {
		return err
	}
	if l.group != nil {
		if prepared.Spec.Cgroup, err = l.group.Open(); err != nil {
			return errors.Join(err, prepared.Close())
		}
		defer prepared.Spec.Cgroup.Close()
	}
	l.pages, err = startRecorded(l.ledger, rolePageServer, prepared.Spec)
	if err = errors.Join(err, prepared.Close()); err != nil {
		return err
	}
	f, err := l.plan.files.File(roleMemory, socket, jail.Read|jail.Write|jail.Ours)
	l.plan.files.Put(f)
	return err
}

// noPageServer is why the memory can't be served page by page.
func (l *launch) noPageServer() error {
	switch {
	case len(l.vm.manager.opts.PageServer) == 0:
		return errors.New("the manager has no page server (Options.PageServer)")
	case l.binary.Version.Compare(guardedPages) < 0:
		return &Error{Code: errcode.HostUnsupported, Op: "restore lazily", Err: errors.New("before v1.12 Firecracker hangs when its page server ends")}
	default:
		return pager.Available(l.vm.config.Hugetlb())
	}
}

// watchPages kills a Firecracker whose page server has ended before the two have met; from
// then on the kernel does.
func (l *launch) watchPages() {
	if l.pages == nil {
		return
	}
	process := l.process
	l.pages.AfterDone(func() { _ = process.Signal(unix.SIGKILL) }) // it has ended, or is about to
}

func (l *launch) memoryBackend() *firecracker.MemoryBackend {
	backend := &firecracker.MemoryBackend{BackendType: "File", BackendPath: l.plan.files.Inside(roleMemory)}
	if l.pages != nil {
		backend.BackendType = "Uffd"
	}
	return backend
}
