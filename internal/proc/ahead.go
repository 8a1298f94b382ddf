package proc

import "errors"

// Ahead is a thread that is made ready for a start while its caller has other things to
// do: where a process begins in other namespaces, that takes as long as all the rest.
// It is for one goroutine.
type Ahead struct {
	ready func() error
	work  chan func() error
	ended chan error
	spent bool
}

// errElsewhere says that the thread is not in the namespaces of its caller.
var errElsewhere = errors.New("the thread is in other namespaces than its caller")

// GoAhead makes the thread. On it ready is called, which may do what [Spec.Isolate] may,
// and with restricted what [Spec.Restricted] means is done, for a process that starts in
// a control group or not. It takes effect by [Spec.Ahead]; whatever becomes of it, it has
// to be closed.
func GoAhead(ready func() error, restricted, cgroup bool) *Ahead {
	a := &Ahead{work: make(chan func() error), ended: make(chan error, 1)}
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
		if err == nil && more {
			err = work()
		}
		return err
	}, a.ended)
	return a
}

// do does the work on the thread, which ends then.
func (a *Ahead) do(work func() error) error {
	if a.spent {
		return errors.New("the thread has done its work already")
	}
	a.spent = true
	a.work <- work
	return <-a.ended
}

// Close ends a thread that has done nothing. It may be called again, and for nil.
func (a *Ahead) Close() {
	if a == nil || a.spent {
		return
	}
	a.spent = true
	close(a.work)
	<-a.ended //nolint:errcheck // what it was to do is not to be done
}
