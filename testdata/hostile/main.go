// Hostile is a Firecracker that is on the side of its guest. It boots nothing, and says yes
// to all that its API is asked, such as to load a snapshot: it is told on its standard input what to try, a line each, and answers on its standard output
// with "#NUMBER ok" and what it found, or "#NUMBER" and the name of the error.
//
//	NUMBER VERB [ARGUMENT ...]
//
// It trusts no library to be polite: every verb is a system call, or a few.
package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// version is the release that it passes for.
var version = "1.12.1"

func main() {
	if slices.Contains(os.Args, "--version") {
		fmt.Printf("Firecracker v%s\n", version)
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "linger" { // what lingers is started by a verb
		linger(os.Args[2])
		return
	}
	if at := slices.Index(os.Args, "--api-sock"); at >= 0 {
		if !slices.Contains(os.Args, "--config-file") {
			agree(os.Args[at+1])
		}
		looksBooted()
	}
	signal.Ignore(unix.SIGXFSZ) // so that it is told, and not ended
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		words := strings.Fields(in.Text())
		if len(words) < 2 {
			continue
		}
		result, err := try(words[1], words[2:])
		if err != nil {
			result = name(err)
		} else {
			result = strings.TrimSpace("ok " + result)
		}
		fmt.Printf("\n#%s %s\n", words[0], result)
	}
}

// name is that of an errno, which is the same in all languages.
func name(err error) string {
	for {
		if errno, ok := err.(unix.Errno); ok { //nolint:errorlint // this is the walk
			return unix.ErrnoName(errno)
		}
		inner, ok := err.(interface{ Unwrap() error })
		if !ok {
			return "error: " + err.Error()
		}
		err = inner.Unwrap()
	}
}

// looksBooted does what smartvm knows a running guest by: threads, and a seccomp filter.
func looksBooted() {
	for range 4 {
		go func() {
			runtime.LockOSThread()
			select {}
		}()
	}
	runtime.LockOSThread() // what the first call does is a thread's own
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	filter := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		fmt.Fprintln(os.Stderr, "seccomp:", errno)
	}
}

// apiSocket is where it serves its API, if it does.
var apiSocket string

// agree serves the API.
func agree(socket string) {
	apiSocket = socket
	l, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	yes := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	go func() { _ = http.Serve(l, yes) }() //nolint:gosec // as long as it lives
}

// linger is a process that is left behind. It holds its standard output open.
func linger(mark string) {
	_, _ = unix.Setsid()
	_ = os.WriteFile(mark, []byte("here"), 0o600)
	for {
		time.Sleep(time.Hour)
	}
}
