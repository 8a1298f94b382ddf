package smartvm_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/vmconfig"
)

// victims are a captive, another VM, and a file of the host.
type victims struct {
	*site

	in    *captive
	out   *attacker
	other *smartvm.VM
	file  string
	way   way
}

// way is how a Firecracker has got into its jail.
type way struct {
	name  string
	begin func(s *site, id string, config vmconfig.Config) *captive
	// fixed are files in it that may only be read.
	fixed []string
	// needed are those that smartvm reads or that the guest was made of.
	needed []string
}

var ways = []way{
	{
		name:   "booted",
		begin:  func(s *site, id string, c vmconfig.Config) *captive { return capture(s.t, s.create(id, c)) },
		fixed:  []string{"/drive/ro", "/kernel", "/config"},
		needed: []string{"/log", "/metrics", "/kernel"},
	},
	{
		name:   "restored",
		begin:  (*site).recapture,
		fixed:  []string{"/drive/ro", "/snapshot", "/snapshot-memory", "/firecracker"},
		needed: []string{"/log", "/api-socket", "/snapshot"},
	},
}

// eachWay runs a test with victims in both kinds of jails.
func eachWay(t *testing.T, test func(t *testing.T, v *victims)) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { test(t, newVictims(t, w)) })
	}
}

func newVictims(t *testing.T, w way) *victims {
	t.Helper()
	s := hostileSite(t, smartvm.Options{})
	v := &victims{site: s, way: w, file: s.image("precious", "precious", 4096)}
	disk := s.image("disk", "disk", 1<<20)
	v.other = s.create("other", s.config())
	capture(t, v.other)
	config := s.config(hello.Stay)
	config.Drives = []vmconfig.Drive{
		{Drive: firecracker.Drive{DriveID: "ro", PathOnHost: disk, IsReadOnly: true}},
		{Drive: firecracker.Drive{DriveID: "kept", PathOnHost: s.image("kept", "kept", 1<<20)}, Ephemeral: new(false)},
		{Drive: firecracker.Drive{DriveID: "copy", PathOnHost: disk}},
	}
	v.in = w.begin(s, "captive", config)
	v.out = free(t, s.opts.FirecrackerPath)
	return v
}

func TestConfinedFirecrackerReachesNoFileOfTheHost(t *testing.T) { eachWay(t, reachesNoFile) }

func reachesNoFile(t *testing.T, v *victims) {
	t.Helper()
	other := filepath.Join(v.other.Dir(), "ledger")
	both(t, v.in, v.out, []attempt{
		{what: "read " + v.file, jailed: "ENOENT"},
		{what: "read /../../../../../../../.." + v.file, jailed: "ENOENT"},
		{what: "read /proc/self/root" + v.file, jailed: "ENOENT"},
		{what: fmt.Sprintf("read /proc/%d/environ", os.Getpid()), jailed: "ENOENT"},
		{what: "read /etc/passwd", jailed: "ENOENT"},
		{what: "read /dev/kmsg", jailed: "ENOENT", free: "EINVAL|EPIPE"}, // EPIPE where the kernel has said more meanwhile than it keeps
		{what: "read " + other, jailed: "ENOENT"},
		{what: "read " + filepath.Join(v.in.Dir(), "ledger"), jailed: "ENOENT"},
		{what: "link " + v.file + " " + v.file + "-linked", jailed: "ENOENT"},
		{what: "handle /", jailed: "EPERM"},
		{what: "chroot /", jailed: "EPERM"},
		{what: "mount none /dev tmpfs", jailed: "EPERM", free: "-"},
		{what: "node " + v.files + "/node 060666 254 0", jailed: "ENOENT"},
	})
	// Nothing in its world is a directory in which it may make something: see Seal.
	for _, dir := range []string{"", "/dev", "/dev/net", "/run", "/drive"} {
		if v.in.try("list %s/", dir) == "ok" { // the jailer makes /run
			continue
		}
		v.in.want("EACCES|EROFS", "create %s/new", dir)
		v.in.want("EACCES|EROFS", "symlink %s %s/new", v.file, dir)
		v.in.want("EACCES|EPERM|EROFS", "node %s/new 060666 254 0", dir)
	}
	if got := v.in.try("list /*"); strings.Contains(got, "/proc") || strings.Contains(got, "/etc") {
		t.Errorf("its world is %s", got)
	}
	v.in.want("ok 0,1,2", "descriptors")
	v.in.want("ok 0", "environ")
}

func TestConfinedFirecrackerIsNobody(t *testing.T) { eachWay(t, isNobody) }

func isNobody(t *testing.T, v *victims) {
	t.Helper()
	uid := v.uid(v.in.VM)
	if uid < smartvm.DefaultFirstUID || uid == v.uid(v.other) {
		t.Errorf("users %d and %d, want one each from %d on", uid, v.uid(v.other), smartvm.DefaultFirstUID)
	}
	v.in.want(fmt.Sprintf("ok %d %d %d 1", uid, uid, uid), "who")
	v.in.want("ok 0:0", "caps")
	both(t, v.in, v.out, []attempt{
		{what: "hostname " + hostname(t), jailed: "EPERM"},
		{what: "bpf", jailed: "EPERM", free: "EINVAL|E2BIG"},
		{what: "module", jailed: "EPERM|ENOSYS", free: "EBADF|ENOSYS"},
		{what: "files 1000000000", jailed: "EPERM", free: "EPERM"}, // above what the kernel allows
		{what: "files 20000", jailed: "EPERM"},
		{what: "nice -20", jailed: "EACCES"},
		{what: "packet", jailed: "EPERM"},
		{what: "segment", jailed: "ENOSPC"},
		{what: "queue smartvm-attack", jailed: "ENOSPC|EACCES"},
		{what: "keys", jailed: "EPERM"},
		{what: "addkey", jailed: "EPERM"},
		{what: fmt.Sprintf("unshare %d", unix.CLONE_NEWNS), jailed: "EPERM"},
		{what: fmt.Sprintf("unshare %d", unix.CLONE_NEWNET), jailed: "EPERM"},
		{what: "clone3", jailed: "ENOSYS", free: "EINVAL"},
	})
	v.in.want("EPERM", "unshare %d", unix.CLONE_NEWUSER)
	v.in.want("EPERM", "setuid 0")
	v.in.want("EPERM", "setuid %d", v.uid(v.other))
	v.in.want("EPERM", "setgid 0")
	v.in.want("EPERM", "groups 0")
	v.out.want("ok", "groups 0")
	v.out.want("ok", "setgid %d", uid)
	v.out.want("ok", "setuid %d", uid)
}

func hostname(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	must(t, err)
	return name
}

func TestConfinedFirecrackerTouchesNoOtherProcess(t *testing.T) { eachWay(t, touchesNoProcess) }

func touchesNoProcess(t *testing.T, v *victims) {
	t.Helper()
	for _, pid := range []int{os.Getpid(), v.pid(v.other), v.pid(v.in.VM)} {
		v.in.want("ESRCH", "signal %d 0", pid) // no number of the host means anything to it
		v.in.want("ESRCH", "trace %d", pid)
		v.out.want("ok", "signal %d 0", pid)
	}
	v.out.want("ok", "trace %d", v.pid(v.other))
	v.in.want("EPERM", "trace 1") // itself
	// All that it may send signals to is itself, even with the number that means all.
	v.in.want("ESRCH", "signal -1 9")
	wantState(t, v.other, smartvm.Running)
}

func TestConfinedFirecrackerChangesNoFileThatItMayOnlyRead(t *testing.T) { eachWay(t, changesNoFile) }

func changesNoFile(t *testing.T, v *victims) {
	t.Helper()
	disk := filepath.Join(v.files, "disk")
	before := fileState(t, disk)
	v.in.want(`ok "disk"`, "read /drive/ro")
	for _, path := range v.way.fixed {
		v.in.want("EROFS|EACCES", "write %s", path)
		v.in.want("EROFS", "chmod %s 0666", path)
		v.in.want("EROFS", "chown %s 0", path)
		v.in.want("EPERM", "remount %s", path)
		v.in.want("EPERM", "umount %s", path)
		v.in.want("EACCES", "rename %s /moved", path)
		v.in.want("EXDEV|EACCES", "link %s /linked", path)
	}
	v.out.want("ok", "write %s", disk)
	// A copy is the VM's own.
	v.in.want("ok", "write /drive/copy")
	if after := fileState(t, disk); after != before {
		t.Errorf("was %s, is %s", before, after)
	}
}

// A drive that is kept belongs to root, and is the jail's user's by the mount alone. What
// he writes must never run as root.
func TestConfinedFirecrackerMakesNoProgramOfRootOutOfADrive(t *testing.T) {
	v := newVictims(t, ways[0]) // one that is restored has copies of all
	kept := filepath.Join(v.files, "kept")
	v.in.want("ok", "write /drive/kept")
	for _, mode := range []string{"04755", "02755", "06755"} {
		v.in.want("EPERM", "chmod /drive/kept %s", mode)
	}
	v.in.want("EPERM|EOVERFLOW", "chown /drive/kept 0")
	if got := fileState(t, kept); !strings.HasPrefix(got, "owner 0:0, mode 100600") {
		t.Errorf("the drive is %s", got)
	}
	v.out.want("ok", "chmod %s 04755", kept)
}

func fileState(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	text, err := os.ReadFile(path)
	must(t, err)
	return fmt.Sprintf("owner %d:%d, mode %o, links %d, changed %v, begins %q", st.Uid, st.Gid, st.Mode, st.Nlink, st.Mtim, text[:4])
}

// A VM without interfaces is in an empty network.
func TestConfinedFirecrackerReachesNothingOfTheHostsNetwork(t *testing.T) {
	eachWay(t, reachesNoNetwork)
}

func reachesNoNetwork(t *testing.T, v *victims) {
	t.Helper()
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer tcp.Close()
	abstract, err := net.Listen("unix", fmt.Sprintf("@smartvm-attack-%d", os.Getpid()))
	must(t, err)
	defer abstract.Close()
	path := filepath.Join(v.files, "service")
	service, err := net.Listen("unix", path)
	must(t, err)
	defer service.Close()
	both(t, v.in, v.out, []attempt{
		{what: fmt.Sprintf("dial %d", tcp.Addr().(*net.TCPAddr).Port), jailed: "ENETUNREACH|ECONNREFUSED"},
		{what: "connect " + abstract.Addr().String(), jailed: "ECONNREFUSED"},
		{what: "connect " + path, jailed: "ENOENT"},
		{what: "listen 81", jailed: "EACCES"},
		{what: "tap smartvm-none", jailed: "EPERM"},
	})
}
