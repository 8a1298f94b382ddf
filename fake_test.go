package smartvm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/firecracker/firecrackertest"
	"github.com/smartvm/smartvm/vmconfig"
)

// fake is what a fake Firecracker does. It is the test binary under another
// name, beside a file with this in it: a Firecracker's environment is empty.
// The zero value does what the real one does, as far as the suite goes.
type fake struct {
	Version string            `json:"version,omitempty"` // of --version and the API; default v1.12.1
	Stuck   bool              `json:"stuck,omitempty"`   // --version does not end
	Dies    bool              `json:"dies,omitempty"`    // ends at once, with Code
	Code    int               `json:"code,omitempty"`    // of its own end
	Stderr  string            `json:"stderr,omitempty"`  // printed first
	Log     string            `json:"log,omitempty"`     // logged first
	Mute    bool              `json:"mute,omitempty"`    // never opens its socket
	Gate    string            `json:"gate,omitempty"`    // opens its socket when this file exists
	Refuse  map[string]string `json:"refuse,omitempty"`  // calls that are refused, with their fault
	Hang    []string          `json:"hang,omitempty"`    // calls that get no answer
	EndsAt  string            `json:"ends_at,omitempty"` // ends, with Code, when it is asked for this
	Brief   bool              `json:"brief,omitempty"`   // its guest ends as soon as it runs
	Curt    bool              `json:"curt,omitempty"`    // hangs up at Ctrl+Alt+Del, and takes a while to end
}

// install makes the fake a program and returns its path.
func (f fake) install(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(shortDir(t), "firecracker")
	if err := os.Link(self, path); err != nil { // another file system
		copyFile(t, self, path)
	}
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+".json", text)
	return path
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
}

// played returns the fake that the program at path is.
func played(path string) (f fake, ok bool) {
	text, err := os.ReadFile(path + ".json")
	return f, err == nil && json.Unmarshal(text, &f) == nil
}

func (f fake) play(args []string) int {
	if f.Version == "" {
		f.Version = "v1.12.1"
	}
	if slices.Contains(args, "--version") {
		if f.Stuck {
			<-time.After(time.Hour)
		}
		fmt.Printf("Firecracker %s\n\nFirecracker exiting successfully. exit_code=0\n", f.Version)
		return 0
	}
	fmt.Fprint(os.Stderr, f.Stderr)
	if err := os.WriteFile(argument(args, "--log-path"), []byte(f.Log), 0o600); err != nil {
		return exitCode(err)
	}
	switch {
	case f.Dies:
		return f.Code
	case f.Mute:
		<-time.After(time.Hour)
	}
	version, err := firecracker.ParseVersion(f.Version)
	if err != nil {
		return exitCode(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for f.Gate != "" && !exists(f.Gate) {
		<-tick.C
	}
	config := argument(args, "--config-file")
	socket := argument(args, "--api-sock")
	opts := firecrackertest.Options{ID: argument(args, "--id"), Version: version, Refuse: f.Refuse, Hang: f.Hang}
	if f.Curt {
		opts.HangUp = []firecracker.ActionType{firecracker.ActionSendCtrlAltDel}
	}
	if config == "" {
		server, err := firecrackertest.Start(context.Background(), socket, opts)
		if err != nil {
			return exitCode(err)
		}
		return f.live(server, nil, tick)
	}
	if len(f.Hang) > 0 && !slices.Contains(f.Hang, "PATCH /vm") { // as long as it builds, it answers nothing
		opts.Hang = append(opts.Hang, "GET /")
	}
	return f.bootFromFile(config, argument(args, "--log-path"), socket, opts, tick)
}

// bootFromFile does what a config file says before it serves its API.
func (f fake) bootFromFile(config, log, socket string, opts firecrackertest.Options, tick *time.Ticker) int {
	text, err := os.ReadFile(config)
	if err != nil {
		return exitCode(err)
	}
	vm, err := vmconfig.Parse(text)
	if err != nil {
		return exitCode(err)
	}
	building := socket + "-"
	if slices.Contains(opts.Hang, "GET /") {
		building = socket
	}
	server, err := firecrackertest.Start(context.Background(), building, opts)
	if err != nil {
		return exitCode(err)
	}
	over := make(chan error, 1)
	go func() {
		client := firecracker.NewClient(building, firecracker.ClientOptions{Version: opts.Version, Timeout: -1})
		for _, r := range append(vm.Requests(), firecracker.StartInstance()) {
			if err := client.Do(context.Background(), r); err != nil {
				over <- errors.Join(err, appendTo(log, "Failed to build MicroVM from Json: "+err.Error()+"\n"))
				return
			}
		}
		err := errors.Join(client.Close(), os.Rename(building, socket))
		if err == nil && !f.Brief {
			err = confine()
		}
		if err != nil || f.Brief {
			over <- err
		}
	}()
	return f.live(server, over, tick)
}

// confine puts all threads under a seccomp filter that allows everything: it is
// how Firecracker is known to let its guest run.
func confine() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	filter := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// live is the guest: it greets when it is started, and ends when it is asked to,
// or when it is over before that.
func (f fake) live(server *firecrackertest.Server, over <-chan error, tick *time.Ticker) int {
	greeted := false
	for ; ; <-tick.C {
		select {
		case err := <-over:
			return exitCode(err)
		default:
		}
		calls := server.Calls()
		actions := 0
		for _, call := range calls {
			if call == "PUT /actions" {
				actions++
			}
		}
		switch {
		case f.EndsAt != "" && slices.Contains(calls, f.EndsAt):
			return f.Code
		case actions > 1: // Ctrl+Alt+Del: nothing else of ours is an action
			if f.Curt {
				<-time.After(300 * time.Millisecond)
			}
			return 0
		case actions == 1 && !greeted:
			fmt.Print("Hello from a fake\r\n")
			greeted = true
		}
	}
}

// argument returns what follows a flag on a command line.
func argument(args []string, flag string) string {
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
