package smartvm_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/vmconfig"
)

// service is a socket of the host's, and what it was told.
type service struct {
	t    *testing.T
	path string
	said chan string
	l    net.Listener
}

func newService(t *testing.T, path string) *service {
	t.Helper()
	l, err := net.Listen("unix", path)
	must(t, err)
	s := &service{t: t, path: path, said: make(chan string, 100), l: l}
	go func() {
		defer close(s.said)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			text, _ := io.ReadAll(conn)
			_ = conn.Close()
			s.said <- string(text)
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return s
}

// heard closes it and returns what it was told.
func (s *service) heard() string {
	s.t.Helper()
	must(s.t, s.l.Close())
	var all strings.Builder
	for text := range s.said {
		all.WriteString(text)
	}
	return all.String()
}

// A jail is sealed once its guest runs. What it can be before that is planted here.
func TestClientSaysNothingToASocketThatIsNotItsFirecrackers(t *testing.T) {
	s := hostileSite(t, smartvm.Options{})
	vm := s.create("captive", s.config())
	capture(t, vm)
	other := newService(t, filepath.Join(s.files, "service"))
	must(t, os.Symlink(other.path, filepath.Join(s.root(vm), "api-socket")))
	conn, err := net.Dial("unix", vm.SocketPath())
	must(t, err) // the trap works
	must(t, conn.Close())
	_, err = vm.Info(patient(t))
	wantCode(t, err, "SOCKET_REQUEST_FAILED")
	if !strings.Contains(err.Error(), "belongs to user 0") {
		t.Errorf("got %v, want whose socket it is", err)
	}
	must(t, vm.Cleanup(patient(t)))
	if text := other.heard(); text != "" {
		t.Errorf("the service heard %q", text)
	}
}

func TestLinkToAVsockGoesWhateverItLeadsTo(t *testing.T) {
	for what, plant := range map[string]func(s *site, path string){
		"a service": func(s *site, path string) {
			other := newService(s.t, filepath.Join(s.files, "service"))
			s.t.Cleanup(func() {
				if text := other.heard(); text != "" {
					s.t.Errorf("the service heard %q", text)
				}
			})
			must(s.t, os.Symlink(other.path, path))
		},
		"a file":    func(s *site, path string) { write(s.t, path, nil) },
		"a FIFO":    func(s *site, path string) { must(s.t, unix.Mkfifo(path, 0o600)) },
		"itself":    func(s *site, path string) { must(s.t, os.Symlink("vsock", path)) },
		"nothing":   func(*site, string) {},
		"directory": func(s *site, path string) { must(s.t, os.Mkdir(path, 0o700)) },
	} {
		t.Run(what, func(t *testing.T) {
			s := hostileSite(t, smartvm.Options{})
			path, config := vsockConfig(s)
			vm := s.create("captive", config)
			capture(t, vm)
			plant(s, filepath.Join(s.root(vm), "vsock"))
			must(t, vm.Cleanup(patient(t)))
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the link is left: %v", err)
			}
		})
	}
}

func TestConfinedFirecrackerCannotReplaceWhatSmartvmReads(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			s := hostileSite(t, smartvm.Options{})
			config := s.config(hello.Stay)
			config.Metrics = &firecracker.Metrics{MetricsPath: filepath.Join(s.files, "metrics")}
			in := w.begin(s, "captive", config)
			for _, path := range w.needed {
				in.want("EACCES", "rename %s /moved", path)
				in.want("EACCES|EPERM|EXDEV", "link /firecracker %s-new", path)
				in.want("EEXIST|EACCES", "symlink /etc/passwd %s", path)
			}
			must(t, in.Cleanup(patient(t)))
		})
	}
}

// What the guest makes Firecracker write, and what it writes itself, ends.
func TestConfinedFirecrackerFillsNeitherDiskNorMemory(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { fillsNothing(t, w) })
	}
}

func fillsNothing(t *testing.T, w way) {
	t.Helper()
	const limit = 1 << 20
	s := hostileSite(t, smartvm.Options{ConsoleLimit: limit})
	config := s.config(hello.Stay)
	config.Drives = []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "disk", PathOnHost: s.image("disk", "disk", 1<<20)}}}
	in := w.begin(s, "captive", config)
	for _, where := range []string{"/log", "fd:2", "/drive/disk"} {
		in.want("EFBIG", "flood %s 100", where)
	}
	in.want("EACCES", "flood /new 1")
	in.want("ok", "flood fd:1 16")
	var sizes []string
	var total int64
	must(t, filepath.WalkDir(in.Dir(), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().IsRegular() && strings.HasPrefix(d.Name(), "console-") {
			total += info.Size()
			sizes = append(sizes, fmt.Sprintf("%s %d", path, info.Size()))
		}
		return err
	}))
	if total == 0 || total > limit {
		t.Errorf("the console's log has %d bytes, want at most %d: %v", total, limit, sizes)
	}
	out := free(t, s.opts.FirecrackerPath)
	out.want("ok", "flood %s 100", filepath.Join(s.files, "flood"))
	must(t, in.Cleanup(patient(t)))
}

func TestMetricsOfTheCallerMayGrow(t *testing.T) {
	s := hostileSite(t, smartvm.Options{})
	config := s.config()
	config.Metrics = &firecracker.Metrics{MetricsPath: filepath.Join(s.files, "metrics")}
	in := capture(t, s.create("captive", config))
	in.want("ok", "flood /metrics 100")
	config = s.config()
	config.Jail = &vmconfig.Jail{MaxFileSize: 1 << 20}
	config.Metrics = &firecracker.Metrics{MetricsPath: filepath.Join(s.files, "limited")}
	limited := capture(t, s.create("limited", config))
	limited.want("EFBIG", "flood /metrics 100")
}

func TestLargerDriveThatIsGivenLaterMayBeWrittenOrIsRefused(t *testing.T) {
	needJail(t)
	s := bootSite(t)
	config := s.config("hello.stay")
	config.Drives = []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "data", PathOnHost: s.image("one", "1", 1<<20)}, Ephemeral: new(false)}}
	vm := s.bootConfig(config)
	err := vm.UpdateDrive(patient(t), "data", s.image("two", "2", 100<<20))
	if errors.Is(err, unix.EPERM) { // root of many a container can't raise a limit
		wantCode(t, err, "JAIL_FAILED")
		if hint := hintOf(err); !strings.Contains(hint, "max_file_size 104857600") {
			t.Errorf("hint %q", hint)
		}
		return
	}
	must(t, err)
	var limit unix.Rlimit
	must(t, unix.Prlimit(s.pid(vm), unix.RLIMIT_FSIZE, nil, &limit))
	if limit.Cur != 100<<20 {
		t.Errorf("it may write files of %d bytes, want %d", limit.Cur, 100<<20)
	}
}

// What a hostile Firecracker starts ends with it, whoever ends it.
func TestNoProcessOutlivesItsFirecracker(t *testing.T) {
	ends := map[string]func(s *site, in *captive){
		"clean-up": func(_ *site, in *captive) { must(in.t, in.Cleanup(patient(in.t))) },
		"stop": func(_ *site, in *captive) {
			must(in.t, in.Stop(patient(in.t), smartvm.StopOptions{Grace: never, TermGrace: never}))
		},
		"kill -9":     func(s *site, in *captive) { must(in.t, unix.Kill(s.pid(in.VM), unix.SIGKILL)) },
		"its own end": func(_ *site, in *captive) { must(in.t, in.WriteConsole(patient(in.t), []byte("999 exit 0\n"))) },
	}
	test := func(w way, end func(*site, *captive)) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			s := hostileSite(t, smartvm.Options{})
			in := w.begin(s, "captive", s.config(hello.Stay))
			uid := s.uid(in.VM)
			for range 3 {
				in.want("ok", "spawn /none")
			}
			until(t, "the processes are there", func() bool { return len(processesOf(t, uid)) == 4 })
			end(s, in)
			_, err := in.Wait(patient(t))
			must(t, err)
			// The kernel ends the others before it tells that the first has ended.
			wantNobody(t, uid)
			must(t, in.Cleanup(patient(t)))
		}
	}
	for name, end := range ends {
		for _, w := range ways {
			t.Run(w.name+", "+name, test(w, end))
		}
	}
}

// The control of the test above: without a jail it does.
func TestProcessWithoutAJailOutlivesItsFirecracker(t *testing.T) {
	program := installHostile(t)
	mark := filepath.Join(shortDir(t), "mark")
	out := free(t, program)
	out.want("ok", "spawn %s", mark)
	until(t, "the process is there", func() bool { return exists(mark) })
	_, err := fmt.Fprintln(out.say, "999 exit 0")
	must(t, err)
	found := func() []int {
		var pids []int
		for _, pid := range processesOf(t, 0) {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if strings.Contains(string(line), "linger\x00"+mark) {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	left := found()
	if len(left) != 1 {
		t.Errorf("left %v, want one process", left)
	}
	for _, pid := range left {
		must(t, unix.Kill(pid, unix.SIGKILL))
	}
	until(t, "it is gone", func() bool { return len(found()) == 0 })
}

func TestUserOfAVMIsNoOtherVMsUserOfAnyRuntimeDirectory(t *testing.T) {
	s := hostileSite(t, smartvm.Options{Jail: smartvm.JailOptions{UIDs: 3}})
	elsewhere := *s
	elsewhere.runtime = filepath.Join(filepath.Dir(s.runtime), "run2")
	must(t, os.Mkdir(elsewhere.runtime, 0o700))
	elsewhere.opts.RuntimeDir = elsewhere.runtime
	elsewhere.Manager = elsewhere.another()
	var uids []int
	for _, one := range []*site{s, &elsewhere, s} {
		vm := one.create(fmt.Sprintf("vm%d", len(uids)), one.config())
		capture(t, vm)
		uids = append(uids, one.uid(vm))
	}
	slices.Sort(uids)
	if want := []int{smartvm.DefaultFirstUID, smartvm.DefaultFirstUID + 1, smartvm.DefaultFirstUID + 2}; !slices.Equal(uids, want) {
		t.Errorf("users %v, want %v", uids, want)
	}
	vm := elsewhere.create("more", s.config())
	wantCode(t, vm.Start(patient(t)), "UID_EXHAUSTED")
}
