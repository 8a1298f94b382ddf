package smartvm_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/vmconfig"
)

// jailedSite is bootSite for a test of the jail.
func jailedSite(t *testing.T, opts smartvm.JailOptions) *site {
	t.Helper()
	needJail(t)
	return bootSiteWith(t, smartvm.Options{Jail: opts})
}

// namespace names the one of a kind that a process is in.
func namespace(t *testing.T, pid int, kind string) string {
	t.Helper()
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	must(t, err)
	return name
}

func TestJailedVMHasAUserAndNamespacesOfItsOwn(t *testing.T) {
	s := jailedSite(t, smartvm.JailOptions{FirstUID: 1_900_100_000, UIDs: 16})
	one, two := s.boot(hello.Stay), s.boot(hello.Stay)
	uids := make(map[int]bool)
	for _, vm := range []*smartvm.VM{one, two} {
		pid := s.pid(vm)
		var st unix.Stat_t
		must(t, unix.Stat(fmt.Sprintf("/proc/%d/root", pid), &st))
		if st.Uid != 0 { // it was the user's until its guest ran
			t.Errorf("its root belongs to %d", st.Uid)
		}
		uid := s.uid(vm)
		uids[uid] = true
		if uid < 1_900_100_000 || uid >= 1_900_100_016 {
			t.Errorf("its user is %d", uid)
		}
		for _, kind := range []string{"mnt", "pid", "ipc", "uts", "net"} {
			if namespace(t, pid, kind) == namespace(t, os.Getpid(), kind) {
				t.Errorf("it is in our namespace %s", kind)
			}
		}
		security, err := vm.Security(patient(t))
		must(t, err)
		for _, item := range []string{"user", "groups", "capabilities", "seccomp", "no_new_privs", "root directory", "environment"} {
			if v := securityItem(t, security, item); v.Status != smartvm.SecurityOK {
				t.Errorf("%+v", v)
			}
		}
	}
	if len(uids) != 2 {
		t.Errorf("two VMs have the users %v", uids)
	}
}

func TestVMWithoutAUserLeftIsRefusedAndWithOneAgainStarts(t *testing.T) {
	s := jailedSite(t, smartvm.JailOptions{UIDs: 1})
	first := s.boot(hello.Stay)
	second := s.create("second", s.config(hello.Stay))
	wantCode(t, second.Start(patient(t)), smartvm.UIDExhausted)
	must(t, first.Cleanup(patient(t)))
	third := s.create("third", s.config(hello.Stay))
	must(t, third.Start(patient(t)))
}

func TestRangesThatAreNoneAreRefused(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	dir := shortDir(t)
	for _, o := range []smartvm.JailOptions{{FirstUID: -5}, {UIDs: -1}, {FirstUID: 1<<32 - 2, UIDs: 2}} {
		m, err := smartvm.New(smartvm.Options{DataDir: dir + "/d", RuntimeDir: dir + "/r", Jail: o})
		if codeOf(err) != smartvm.InvalidConfig {
			t.Errorf("%+v: got %v", o, err)
		}
		if err == nil {
			must(t, m.Close())
		}
	}
}

func TestSettingsOfTheJailNeedOne(t *testing.T) {
	s := bootSiteWith(t, smartvm.Options{Jail: smartvm.JailOptions{Off: true}})
	config := s.config(hello.Stay)
	config.Jail = &vmconfig.Jail{MaxOpenFiles: 100}
	e := wantCode(t, s.create("", config).Start(patient(t)), smartvm.InvalidConfig)
	if !strings.Contains(e.Error(), "jail") {
		t.Errorf("got %v", e)
	}
}

func TestResourceLimitsOfTheJailAreInForce(t *testing.T) {
	s := jailedSite(t, smartvm.JailOptions{})
	config := s.config(hello.Stay)
	config.Jail = &vmconfig.Jail{MaxOpenFiles: 100, MaxFileSize: 1 << 20}
	vm := s.bootConfig(config)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.pid(vm)))
	must(t, err)
	for name, want := range map[string]string{"Max open files": "100", "Max file size": "1048576"} {
		_, rest, _ := strings.Cut(string(text), name)
		if got := strings.Fields(rest); len(got) < 2 || got[0] != want || got[1] != want {
			t.Errorf("%s: %v, want %s", name, got[:min(2, len(got))], want)
		}
	}
}

func TestVMRunsInTheNetworkNamespaceOfItsTAP(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	nettest.Isolated(t, func(t *testing.T) {
		there := nettest.NewNamespace(t)
		there.AddTAP(t, "tap7")
		s := jailedSite(t, smartvm.JailOptions{})
		config := s.config(hello.Stay)
		config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0", HostDevName: "tap7"}}
		config.Jail = &vmconfig.Jail{NetNS: there.Path()}
		vm := s.bootConfig(config)
		if namespace(t, s.pid(vm), "net") == namespace(t, os.Getpid(), "net") {
			t.Error("it is in our network namespace")
		}
		must(t, vm.Cleanup(patient(t)))

		config.NetworkInterfaces[0].HostDevName = "tap8"
		wantCode(t, s.create("", config).Start(patient(t)), smartvm.InvalidConfig)
	})
}

func TestOriginalsStayAsTheyAreInAJail(t *testing.T) {
	s := jailedSite(t, smartvm.JailOptions{})
	config := s.config(hello.Stay)
	disk := s.image("disk", "original", 1<<20)
	config.Drives = []vmconfig.Drive{
		{Drive: firecracker.Drive{DriveID: "kept", PathOnHost: disk}, Ephemeral: new(false)},
	}
	var before [2]unix.Stat_t
	for i, path := range []string{s.kernel, disk} {
		must(t, os.Chmod(path, 0o600))
		must(t, unix.Stat(path, &before[i]))
	}
	vm := s.bootConfig(config)
	for i, path := range []string{s.kernel, disk} {
		var now unix.Stat_t
		must(t, unix.Stat(path, &now))
		if now.Uid != before[i].Uid || now.Gid != before[i].Gid || now.Mode != before[i].Mode || now.Nlink != before[i].Nlink || now.Ctim != before[i].Ctim {
			t.Errorf("%s was %+v and is %+v", path, before[i], now)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if strings.Contains(string(mounts), vm.Dir()) {
		t.Errorf("the host has mounts of the VM:\n%s", mounts)
	}
}

func TestSnapshotsOfAJailedVMBelongToTheirUser(t *testing.T) {
	s := jailedSite(t, smartvm.JailOptions{})
	vm := s.boot(hello.Stay)
	must(t, vm.Pause(patient(t)))
	params := firecracker.SnapshotCreateParams{SnapshotPath: filepath.Join(s.files, "state"), MemFilePath: filepath.Join(s.files, "memory")}
	must(t, vm.CreateSnapshot(patient(t), params))
	for _, path := range []string{params.SnapshotPath, params.MemFilePath} {
		var st unix.Stat_t
		must(t, unix.Stat(path, &st))
		if int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 || st.Size == 0 {
			t.Errorf("%s: %+v", path, st)
		}
	}
}

func TestVsockIsForVMsThatHaveOne(t *testing.T) {
	s := bootSite(t)
	without := s.boot(hello.Stay)
	_, err := without.DialVsock(patient(t), 52)
	wantCode(t, err, smartvm.InvalidConfig)
	_, err = without.ListenVsock(52)
	wantCode(t, err, smartvm.InvalidConfig)

	_, config := vsockConfig(s)
	vm := s.create("", config)
	_, err = vm.DialVsock(patient(t), 52)
	wantCode(t, err, smartvm.NoClient)
	must(t, vm.Start(patient(t)))
	listener, err := vm.ListenVsock(52)
	must(t, err)
	if _, err := vm.ListenVsock(52); err == nil {
		t.Error("two listen on one port")
	}
	must(t, listener.Close())
	again, err := vm.ListenVsock(52)
	must(t, err)
	must(t, again.Close())

	// The hello guest has no driver for it, so that Firecracker never answers.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if conn, err := vm.DialVsock(ctx, 52); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, %v", conn, err)
	}
}

func TestLeaseOfAUserGoesWithItsVM(t *testing.T) {
	s := jailedSite(t, smartvm.JailOptions{})
	vm := s.boot(hello.Stay)
	names, err := os.ReadDir(usersIn(s.data))
	must(t, err)
	if len(names) != 1 {
		t.Fatalf("the leases are %v", names)
	}
	if uid, err := strconv.Atoi(names[0].Name()); err != nil || uid < smartvm.DefaultFirstUID {
		t.Errorf("leased %s", names[0].Name())
	}
	must(t, vm.Cleanup(patient(t)))
	if names, err := os.ReadDir(usersIn(s.data)); err != nil || len(names) != 0 {
		t.Errorf("after the clean-up there are %v, %v", names, err)
	}
}

// confinement is what the kernel tells of a process that is not about who it is.
func confinement(t *testing.T, pid int) string {
	t.Helper()
	var all strings.Builder
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(status)) {
		switch key, value, _ := strings.Cut(line, ":"); key {
		case "Umask", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters":
			all.WriteString(line)
		case "NSpid":
			fmt.Fprintln(&all, key, strings.Fields(value)[1:])
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	must(t, err)
	all.Write(limits)
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	must(t, err)
	fmt.Fprintf(&all, "environment %q\n", environ)
	for _, kind := range []string{"mnt", "pid", "ipc", "uts", "net", "user", "cgroup"} {
		fmt.Fprintln(&all, kind, "is ours:", namespace(t, pid, kind) == namespace(t, os.Getpid(), kind))
	}
	for _, path := range []string{"", "dev", "dev/kvm", "dev/net", "dev/net/tun", "dev/urandom"} {
		var st unix.Stat_t
		must(t, unix.Stat(fmt.Sprintf("/proc/%d/root/%s", pid, path), &st))
		fmt.Fprintf(&all, "/%s: type %o, device %x\n", path, st.Mode&unix.S_IFMT, st.Rdev)
	}
	return all.String()
}

// A VM gets into its jail by Firecracker's jailer when it boots and without it when it is
// restored. The kernel tells the same of both.
func TestRestoredVMIsConfinedAsOneThatBooted(t *testing.T) {
	s := jailedSite(t, smartvm.JailOptions{})
	config := s.config(hello.Stay)
	config.Jail = &vmconfig.Jail{MaxOpenFiles: 100, MaxFileSize: 64 << 20}
	booted := s.bootConfig(config)
	_, err := booted.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
	must(t, err)
	restored, err := s.Restore(patient(t), "warm", smartvm.RestoreOptions{})
	must(t, err)
	if a, b := confinement(t, s.pid(booted)), confinement(t, s.pid(restored)); a != b {
		t.Errorf("booted:\n%s\nrestored:\n%s", a, b)
	}
	if a, b := s.uid(booted), s.uid(restored); a == b {
		t.Errorf("both are user %d", a)
	}
	verdicts := func(vm *smartvm.VM) map[string]smartvm.SecurityStatus {
		security, err := vm.Security(patient(t))
		must(t, err)
		all := map[string]smartvm.SecurityStatus{}
		for _, v := range security.Verdicts {
			all[v.Item] = v.Status
		}
		return all
	}
	if a, b := verdicts(booted), verdicts(restored); !maps.Equal(a, b) {
		t.Errorf("booted: %v\nrestored: %v", a, b)
	}
}

// Clones share the memory of their snapshot, and the pages of their program. With others
// they share neither.
func TestOnlyVMsOfOneSnapshotShareAProgram(t *testing.T) {
	s := jailedSite(t, smartvm.JailOptions{})
	program := func(vm *smartvm.VM) string {
		var st unix.Stat_t
		must(t, unix.Stat(fmt.Sprintf("/proc/%d/exe", s.pid(vm)), &st))
		return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	}
	origin := s.boot(hello.Stay)
	all := map[string][]string{program(origin): {"origin"}}
	for _, name := range []string{"one", "two"} {
		_, err := origin.Snapshot(patient(t), name, smartvm.SnapshotOptions{})
		must(t, err)
		clones, err := s.Clone(patient(t), name, 3, smartvm.CloneOptions{})
		must(t, err)
		for _, vm := range clones {
			all[program(vm)] = append(all[program(vm)], name)
		}
	}
	var st unix.Stat_t
	must(t, unix.Stat(s.opts.FirecrackerPath, &st))
	if _, host := all[fmt.Sprintf("%d:%d", st.Dev, st.Ino)]; host || len(all) != 3 {
		t.Errorf("programs and who has them: %v", all)
	}
	for _, who := range all {
		if len(slices.Compact(who)) != 1 {
			t.Errorf("%v share a program", who)
		}
	}
}

func TestRestoredVMRunsInTheNetworkNamespaceOfItsConfig(t *testing.T) {
	s := jailedSite(t, smartvm.JailOptions{})
	config := s.config(hello.Stay)
	config.Jail = &vmconfig.Jail{NetNS: nettest.NewNamespace(t).Path()}
	origin := s.bootConfig(config)
	_, err := origin.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
	must(t, err)
	restored, err := s.Restore(patient(t), "warm", smartvm.RestoreOptions{})
	must(t, err)
	if a, b := namespace(t, s.pid(origin), "net"), namespace(t, s.pid(restored), "net"); a != b || a == namespace(t, os.Getpid(), "net") {
		t.Errorf("the original is in %s, the other in %s", a, b)
	}
}

// A container often has a root who may not do all that root may.
func TestJailThatCannotBeEnteredSaysWhatItTakes(t *testing.T) {
	needJail(t)
	const marker = "SMARTVM_TEST_POWERLESS"
	if os.Getenv(marker) != "" {
		s := bootSite(t)
		vm := s.create("", s.config(hello.Stay))
		err := vm.Start(patient(t))
		wantUndone(t, vm, err, "JAIL_FAILED")
		if hint := hintOf(err); !errors.Is(err, unix.EPERM) || !strings.Contains(hint, "CAP_SYS_ADMIN") {
			t.Errorf("got %v, hint %q", err, hint)
		}
		return
	}
	err := proc.OnThread(func() error {
		// What a thread can never have again its child does not get, though it is root's.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0); err != nil {
			return err
		}
		again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		again.Env = append(os.Environ(), marker+"=1")
		out, err := again.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS") {
			t.Errorf("%v:\n%s", err, out)
		}
		return nil
	})
	must(t, err)
}
