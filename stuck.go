package smartvm

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// A Firecracker whose guest ends in the very moment in which it is asked
// something never ends: its main thread waits for the API thread, which waits
// for the main thread's answer (seen with v1.12.1 and v1.16.1; the code is the same
// in v1.17). Such a process has a request that is not answered, ours, and threads
// that all sleep: on a busy host another one may take long to end, but is runnable
// then. Its vCPU threads are gone (v1.12) or halted (v1.16). So whoever asks looks
// after a while whether there is still somebody to answer.

// stuckAfter is how long an answer may take before the look, and how long until
// the next one.
const stuckAfter = 100 * time.Millisecond

// stuckLooks is at how many looks in a row a Firecracker has to seem stuck. They see one
// thread after the other, so that one alone may take work that is handed over for none.
const stuckLooks = 3

// vcpuThread is how Firecracker calls its vCPU threads, but for their number.
const vcpuThread = "fc_vcpu"

// guardCall watches a call to a guest that has started, until done is called.
func (v *VM) guardCall() (done func()) {
	v.mu.Lock()
	process, started := v.process, v.state == Running || v.state == Paused
	v.mu.Unlock()
	if process == nil || !started {
		return func() {}
	}
	stop, armed := make(chan struct{}), make(chan struct{})
	var timer *time.Timer
	looks := 0 // at which it seemed stuck
	timer = time.AfterFunc(stuckAfter, func() {
		<-armed // on a busy host this may run before the variable is set
		select {
		case <-stop:
		case <-process.Done():
		default:
			if looks++; !seemsStuck(process) {
				looks = 0
			}
			if looks == stuckLooks {
				v.killStuck(process)
			}
			timer.Reset(stuckAfter)
		}
	})
	close(armed)
	return func() {
		close(stop)
		timer.Stop()
	}
}

// seemsStuck reports whether a Firecracker that has a request to answer does nothing:
// all of it sleeps, and there is no vCPU, or the main thread waits for another one.
func seemsStuck(process *proc.Process) bool {
	threads, err := process.Threads()
	if err != nil || len(threads) == 0 || slices.ContainsFunc(threads, func(t proc.Thread) bool { return !t.Asleep }) {
		return false
	}
	guest := slices.ContainsFunc(threads, func(t proc.Thread) bool { return strings.HasPrefix(t.Name, vcpuThread) })
	return !guest || process.WaitsForThread()
}

// killStuck ends a Firecracker that has lost its guest and does not end. That is no
// failure of the VM: it is what its guest wanted.
func (v *VM) killStuck(process *proc.Process) {
	v.manager.log.Warn("a Firecracker that did not end with its guest is killed", slog.String("vm", v.ID()))
	v.noteAsked()
	_ = process.Signal(unix.SIGKILL) // a failure shows in the call, which gets no answer
}

// noteAsked records, for us and for other processes, that the end that follows
// is wanted.
func (v *VM) noteAsked() {
	v.mu.Lock()
	v.asked = true
	v.mu.Unlock()
	if _, err := touch(filepath.Join(v.Dir(), askedName)); err != nil {
		v.manager.log.Warn("other processes will take the stop for a failure", slog.String("vm", v.ID()), slog.Any("err", err))
	}
}
