package proc

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// OnThread runs f on a thread of its own, which ends with it: f may change what can't
// be changed back, such as the thread's namespaces.
func OnThread(f func() error) error {
	done := make(chan error, 1)
	go onThread(f, done)
	return <-done
}

func onThread(f func() error, done chan<- error) {
	runtime.LockOSThread() // and never unlocked, so that the thread ends with the goroutine
	// But for the main thread: it can't end, and what it is in is what /proc/self shows.
	if unix.Gettid() == unix.Getpid() {
		again := make(chan struct{})
		go func() {
			defer close(again)
			onThread(f, done)
		}()
		<-again
		runtime.UnlockOSThread()
		return
	}
	result := errors.New("the function ended its goroutine")
	defer func() { done <- result }()
	result = f()
}
