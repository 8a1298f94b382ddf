package proc

import "errors"

// Ahead is a thread that is made ready for a start while its caller has other things to
// do: where a process begins in other namespaces, that takes as long as all the rest.
// It is for one goroutine.
type Ahead struct {
	ready  func() error
	work   chan func() error
	done   chan error // what became of the work
	ended  chan error
	brief  bool // whether the thread ends with the work, valid once there is some
	spent  bool
	closed bool
}

// errElsewhere says that the thread is not in the namespaces of its caller.
var errElsewhere = errors.New("the thread is in other namespaces than its caller")

// GoAhead makes the thread. On it ready is called, which may do what [Spec.Isolate] may,
// and with restricted what [Spec.Restricted] means is done, for a process that starts in
// a control group or not. It takes effect by [Spec.Ahead]; whatever becomes of it, it has
// to be closed. That is best done when nobody waits for the process any more: until then
// the thread keeps the namespaces that it has made, and a process that leaves them, as
// Firecracker's jailer does, need not wait until the kernel has taken them apart. With
// [Spec.Closed] it ends by itself once the process is there.
func GoAhead(ready func() error, restricted, cgroup bool) *Ahead {
	a := &Ahead{work: make(chan func() error), done: make(chan error, 1), ended: make(chan error, 1)}
	a.ready = func() error {
		err := ready()
		if err == nil && restricted {
			err = restrict(cgroup)
		}
		return err
	}
	here, known := whereabouts()
	go onThread(func() error {
		err := errElsewhere
		if there, ok := whereabouts(); known && ok && there == here {
			err = a.ready()
		}
		work, more := <-a.work
		if !more {
			return err
		}
		if err == nil {
			err = work()
		}
		a.done <- err
		if !a.brief {
			<-a.work
		}
		return nil
	}, a.ended)
	return a
}

// Fresh reports whether the thread has started nothing yet. There is none in nil.
func (a *Ahead) Fresh() bool { return a != nil && !a.spent && !a.closed }

// do does the work on the thread, which ends with it if it is brief.
func (a *Ahead) do(work func() error, brief bool) error {
	if !a.Fresh() {
		return errors.New("the thread has done its work already")
	}
	a.spent, a.brief = true, brief
	a.work <- work
	select {
	case err := <-a.done:
		return err
	case err := <-a.ended: // by a panic, or after brief work
		select {
		case err = <-a.done:
		default:
		}
		return err
	}
}

// Close ends the thread. It may be called again, and for nil.
func (a *Ahead) Close() {
	if a == nil || a.closed {
		return
	}
	a.closed = true
	close(a.work)
	if !a.spent {
		<-a.ended //nolint:errcheck // what it was to do is not to be done
	}
}
