package smartvm_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/pool"
	"github.com/smartvm/smartvm/vmconfig"
)

// tenant is a user that no host has.
var tenant = pool.User{UID: 1_777_000_001, Name: "1777000001"}

// poolUser is a program of the tenant's: a process without any right that does what a
// line says and answers with a line.
type poolUser struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// do returns the answer to a line.
func (u *poolUser) do(words ...string) string {
	u.t.Helper()
	_, err := fmt.Fprintln(u.in, strings.Join(words, " "))
	must(u.t, err)
	if !u.lines.Scan() {
		u.t.Fatalf("%v: no answer: %v", words, u.lines.Err())
	}
	return u.lines.Text()
}

func (u *poolUser) end() {
	u.t.Helper()
	must(u.t, errors.Join(u.in.Close(), u.cmd.Wait()))
}

// poolScene is a host on which only root may open /dev/kvm and /dev/net/tun.
type poolScene struct {
	pool.Options

	t    *testing.T
	dir  string // for all to see
	args []string
}

func withPool(t *testing.T, body func(s *poolScene)) {
	t.Helper()
	binary := hosttest.Boot(t)
	nettest.Isolated(t, func(t *testing.T) {
		dir := shortDir(t)
		s := &poolScene{t: t, dir: dir, Options: pool.Options{Dir: filepath.Join(dir, "pools")}}
		must(t, os.Chmod(dir, 0o755))
		for name, minor := range map[string]uint32{"/dev/kvm": 232, "/dev/net/tun": 200} {
			node := filepath.Join(dir, filepath.Base(name))
			must(t, unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(10, minor))))
			mount(t, node, name, "", unix.MS_BIND, "")
		}
		for path, name := range map[string]string{binary: "firecracker", "/proc/self/exe": "program"} {
			data, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, name), data, 0o700))
			must(t, os.Chmod(filepath.Join(dir, name), 0o755))
		}
		must(t, os.WriteFile(filepath.Join(dir, "hello"), hello.Image(), 0o600))
		must(t, os.Chmod(filepath.Join(dir, "hello"), 0o644))
		for _, name := range []string{"run", "data"} {
			must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
			must(t, os.Chown(filepath.Join(dir, name), tenant.UID, tenant.UID))
			s.args = append(s.args, filepath.Join(dir, name))
		}
		s.args = append(s.args, filepath.Join(dir, "firecracker"), filepath.Join(dir, "hello"), s.Dir)
		host := nettest.Host(t)
		host.Uplink(t, "up0", "192.0.2.2/24")
		before := host.Snapshot(t)
		t.Cleanup(func() {
			_, err := pool.Remove(context.WithoutCancel(t.Context()), s.Options, tenant, true)
			must(t, err)
			host.Same(t, before)
		})
		body(s)
	})
}

func (s *poolScene) setUp(r pool.Request) *pool.Pool {
	s.t.Helper()
	r.User = tenant
	p, err := pool.SetUp(patient(s.t), s.Options, r)
	must(s.t, err)
	return p
}

// user starts a program of the tenant's.
func (s *poolScene) user() *poolUser {
	s.t.Helper()
	u := &poolUser{t: s.t, cmd: exec.CommandContext(s.t.Context(), filepath.Join(s.dir, "program"), append([]string{userProgram}, s.args...)...)}
	u.cmd.Dir, u.cmd.Stderr = "/", os.Stderr
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(tenant.UID), Gid: uint32(tenant.UID)}}
	var err error
	u.in, err = u.cmd.StdinPipe()
	must(s.t, err)
	out, err := u.cmd.StdoutPipe()
	must(s.t, err)
	u.lines = bufio.NewScanner(out)
	must(s.t, u.cmd.Start())
	return u
}

// left lists what VMs have left.
func (s *poolScene) left(p *pool.Pool) (left []string) {
	s.t.Helper()
	for _, dir := range []string{s.args[0], p.Leases} {
		entries, err := os.ReadDir(dir)
		must(s.t, err)
		for _, e := range entries {
			left = append(left, filepath.Join(dir, e.Name()))
		}
	}
	return left
}

func TestUserWithoutRootBootsVMsOnHisPool(t *testing.T) {
	withPool(t, func(s *poolScene) {
		t := s.t
		u := s.user()
		command := pool.User.Command(tenant)
		if got := u.do("boot", "early"); !strings.HasPrefix(got, "KVM_UNAVAILABLE") || !strings.Contains(got, command) {
			t.Errorf("without access to KVM: %s", got)
		}
		must(t, os.Chmod("/dev/kvm", 0o666))
		if got := u.do("boot", "early"); !strings.HasPrefix(got, "NOT_PERMITTED") || !strings.Contains(got, command) {
			t.Errorf("without a pool: %s", got)
		}
		must(t, os.Chmod("/dev/kvm", 0o600))
		p := s.setUp(pool.Request{TAPs: 2})
		want := func(name string, tap pool.TAP) {
			t.Helper()
			got := u.do("boot", name)
			if !strings.HasPrefix(got, tap.Name+" ") || !strings.Contains(got, "ip="+tap.Addr.Addr().String()+"::172.31.0.1:255.255.255.0:"+name+":eth0:off") {
				t.Errorf("%s: %s", name, got)
			}
		}
		want("one", p.TAPs[0])
		want("two", p.TAPs[1])
		other := s.user()
		if got := other.do("boot", "three"); !strings.HasPrefix(got, "IP_EXHAUSTED") || !strings.Contains(got, command+" --taps 4") {
			t.Errorf("a third VM: %s", got)
		}
		other.end()
		if status, err := p.Status(); err != nil || status.Used != 2 {
			t.Errorf("status %+v, %v", status, err)
		}
		if got := u.do("end", "one"); got != "ended" {
			t.Error(got)
		}
		want("three", p.TAPs[0])
		for _, name := range []string{"two", "three"} {
			if got := u.do("end", name); got != "ended" {
				t.Error(got)
			}
		}
		if left := s.left(p); len(left) > 0 {
			t.Errorf("left %v", left)
		}
		u.end()
	})
}

func TestUserWithoutRootIsRefusedWhatOnlyRootCanDo(t *testing.T) {
	withPool(t, func(s *poolScene) {
		t := s.t
		p := s.setUp(pool.Request{TAPs: 1, Egress: &netconfig.Policy{Default: netconfig.Deny}})
		u := s.user()
		for _, what := range []string{"forwards", "egress", "bridge", "subnet"} {
			if got := u.do(what); !strings.HasPrefix(got, "NOT_PERMITTED") || !strings.Contains(got, pool.User.Command(tenant)) {
				t.Errorf("%s: %s", what, got)
			}
		}
		if got := u.do("mac"); !strings.HasPrefix(got, "INVALID_CONFIG") || !strings.Contains(got, "guest_mac") {
			t.Errorf("another MAC address: %s", got)
		}
		for _, what := range []string{"tables", "link", "policy"} {
			got := u.do(what, p.Bridge)
			if !strings.HasPrefix(got, "NOT_PERMITTED") && !strings.HasPrefix(got, "DIRECTORY_FAILED") && !strings.HasPrefix(got, "LEDGER_FAILED") {
				t.Errorf("%s: %s", what, got)
			}
		}
		n, err := hostnet.New(hostnet.Options{Dir: filepath.Join(s.Dir, "state"), Config: netconfig.Config{Bridge: p.Bridge}})
		must(t, err)
		if faults, err := n.Check(patient(t)); err != nil || len(faults) > 0 {
			t.Errorf("the network is not as planned: %+v, %v", faults, err)
		}
		must(t, n.Close())
		if left := s.left(p); len(left) > 0 {
			t.Errorf("left %v", left)
		}
		u.end()
	})
}

func TestTAPOfKilledProgramIsFreeAfterGC(t *testing.T) {
	withPool(t, func(s *poolScene) {
		t := s.t
		p := s.setUp(pool.Request{TAPs: 1})
		u := s.user()
		if got := u.do("boot", "one"); !strings.HasPrefix(got, p.TAPs[0].Name) {
			t.Fatal(got)
		}
		must(t, u.cmd.Process.Kill())
		_ = u.cmd.Wait()
		u = s.user()
		if got := u.do("boot", "two"); !strings.HasPrefix(got, "IP_EXHAUSTED") {
			t.Errorf("while the first VM runs: %s", got)
		}
		if got := u.do("adopt", "one"); got != "ended" {
			t.Errorf("adopt: %s", got)
		}
		if got := u.do("boot", "two"); !strings.HasPrefix(got, p.TAPs[0].Name) {
			t.Errorf("afterwards: %s", got)
		}
		u.do("end", "two")
		u.end()
		if left := s.left(p); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	})
}

// usePool is the tenant's program.
func usePool(runtimeDir, dataDir, binary, kernel, pools string) error {
	opts := smartvm.Options{RuntimeDir: runtimeDir, DataDir: dataDir, FirecrackerPath: binary, PoolDir: pools}
	m, err := smartvm.New(opts)
	if err != nil {
		return err
	}
	defer m.Close()
	u := &poolProgram{m, opts, kernel}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		verb, arg, _ := strings.Cut(lines.Text(), " ")
		answer, err := u.obey(verb, arg)
		if err != nil {
			answer = string(codeOf(err)) + " " + strings.ReplaceAll(err.Error(), "\n", "; ") + " (" + hintOf(err) + ")"
		}
		fmt.Println(answer)
	}
	return m.Cleanup(context.Background())
}

type poolProgram struct {
	*smartvm.Manager

	opts   smartvm.Options
	kernel string
}

func (u *poolProgram) obey(verb, arg string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	config := vmconfig.Config{
		BootSource:        firecracker.BootSource{KernelImagePath: u.kernel, BootArgs: hello.Stay},
		NetworkInterfaces: []firecracker.NetworkInterface{{IfaceID: "eth0"}},
		Network:           &vmconfig.Network{IPArgument: true},
	}
	opts := u.opts
	switch verb {
	case "boot":
		return u.boot(ctx, u.Manager, arg, config)
	case "end":
		vm, _ := u.VM(arg)
		defer u.RemoveVM(arg)
		return "ended", vm.Cleanup(ctx)
	case "adopt":
		vm, err := u.Adopt(ctx, arg)
		if err != nil {
			return "", err
		}
		defer u.RemoveVM(arg)
		return "ended", vm.Cleanup(ctx)
	case "forwards":
		config.Network.Forwards = []netconfig.Forward{{HostPort: 8080, GuestPort: 80}}
	case "egress":
		config.Network.Egress = &netconfig.Policy{Default: netconfig.Allow}
	case "mac":
		config.NetworkInterfaces[0].GuestMAC = "02:00:00:00:00:77"
	case "bridge":
		opts.Network.Bridge = "svbr7"
	case "subnet":
		opts.Network.AllowPeers = true
	default:
		return u.tamper(ctx, verb, arg)
	}
	m, err := smartvm.New(opts)
	if err != nil {
		return "", err
	}
	defer m.Close()
	return u.boot(ctx, m, verb, config)
}

// boot returns the VM's TAP and what its guest says of its command line.
func (u *poolProgram) boot(ctx context.Context, m *smartvm.Manager, id string, config vmconfig.Config) (string, error) {
	vm, err := m.CreateVM(id, config)
	if err != nil {
		return "", err
	}
	if err := vm.Start(ctx); err != nil {
		m.RemoveVM(id)
		return "", errors.Join(err, vm.Cleanup(ctx))
	}
	console, err := vm.OpenConsole(ctx, smartvm.ConsoleOptions{Follow: true})
	if err != nil {
		return "", err
	}
	defer console.Close()
	for lines := bufio.NewScanner(console); lines.Scan(); {
		if strings.Contains(lines.Text(), " ip=") {
			return vm.TAPs()[0].Name + " " + strings.TrimSpace(lines.Text()), nil
		}
	}
	return "", errors.New("the guest does not say its command line")
}

// tamper tries to change what root has made.
func (u *poolProgram) tamper(ctx context.Context, verb, bridge string) (string, error) {
	host, err := netlinux.Open()
	if err != nil {
		return "", err
	}
	defer host.Close()
	link, err := host.Link(bridge)
	if err != nil {
		return "", err
	}
	switch verb {
	case "tables":
		return "removed", host.RemoveTables("smartvm-"+bridge, link.Alias)
	case "link":
		return "removed", host.DeleteLink(ctx, bridge, link.Index, link.Alias)
	default:
		n, err := hostnet.New(hostnet.Options{Dir: filepath.Join(u.opts.PoolDir, "state"), Config: netconfig.Config{Bridge: bridge}})
		if err != nil {
			return "", err
		}
		err = n.SetEgress(ctx, nil)
		return "set", errors.Join(err, n.Close()) //nolint:contextcheck // a Close has none
	}
}
