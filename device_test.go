package smartvm_test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/vmconfig"
)

// The hello guest has no driver for it; that the size is set is the lab's claim.
func TestUpdateBalloonSaysThatTheGuestHasNoDriver(t *testing.T) {
	s := bootSite(t)
	config := s.config(hello.Stay)
	config.Balloon = &firecracker.Balloon{AmountMiB: 1}
	vm := s.bootConfig(config)
	err := vm.UpdateBalloon(patient(t), 2)
	if e := wantCode(t, err, smartvm.APIError); e.StatusCode != http.StatusBadRequest || hintOf(err) == "" {
		t.Errorf("status %d, hint %q", e.StatusCode, hintOf(err))
	}
}

// tap makes a TAP device in the network namespace of the test.
func tap(t *testing.T, name string) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("needs /dev/net/tun: ", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	must(t, err)
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	must(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	must(t, unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1))
}

func TestCallersTAPIsUsedUpdatedAndKept(t *testing.T) {
	hosttest.Isolate(t)
	// A sysfs shows the network of the process that mounted it.
	must(t, unix.Mount("sysfs", "/sys", "sysfs", 0, ""))
	tap(t, "tap-test")
	s := bootSite(t)
	config := s.config(hello.Stay)
	config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0", HostDevName: "tap-test"}}
	config.MMDSConfig = &firecracker.MMDSConfig{NetworkInterfaces: []string{"eth0"}, Version: "V2"}
	config.Metadata = firecracker.Metadata{"first": "value"}
	vm := s.bootConfig(config)
	if got, err := vm.GetMetadata(patient(t)); err != nil || got["first"] != "value" {
		t.Errorf("metadata %v, %v, want that of the config", got, err)
	}
	limit := &firecracker.RateLimiter{Bandwidth: &firecracker.TokenBucket{Size: 1000, RefillTime: 100}}
	must(t, vm.UpdateNetworkInterface(patient(t), firecracker.NetworkInterfaceUpdate{IfaceID: "eth0", TxRateLimiter: limit}))
	err := vm.UpdateNetworkInterface(patient(t), firecracker.NetworkInterfaceUpdate{IfaceID: "eth1", TxRateLimiter: limit})
	wantCode(t, err, smartvm.APIError)
	must(t, vm.Cleanup(patient(t)))
	if !exists("/sys/class/net/tap-test") {
		t.Error("the caller's TAP is gone")
	}
}

func vsockConfig(s *site) (path string, config vmconfig.Config) {
	path = filepath.Join(s.files, "vsock")
	config = s.config(hello.Stay)
	config.Vsock = &firecracker.Vsock{GuestCID: 3, UDSPath: path}
	return path, config
}

func TestStaleVsockSocketIsReplacedAndGoesWithTheVM(t *testing.T) {
	s := bootSite(t)
	path, config := vsockConfig(s)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	stale.SetUnlinkOnClose(false)
	must(t, stale.Close())
	vm := s.bootConfig(config)
	conn, err := net.Dial("unix", path)
	must(t, err)
	must(t, conn.Close())
	must(t, vm.Stop(patient(t), smartvm.StopOptions{}))
	must(t, vm.Cleanup(patient(t)))
	if exists(path) {
		t.Error("the socket is there after the clean-up")
	}
}

func TestVsockPathOfSomebodyElseIsLeftAlone(t *testing.T) {
	occupy := map[string]func(t *testing.T, path string){
		"socket": func(t *testing.T, path string) {
			t.Helper()
			l, err := net.Listen("unix", path)
			must(t, err)
			t.Cleanup(func() { _ = l.Close() })
		},
		"file": func(t *testing.T, path string) { t.Helper(); write(t, path, []byte("precious")) },
	}
	for name, put := range occupy {
		t.Run(name, func(t *testing.T) {
			s := fakeSite(t, fake{})
			path, config := vsockConfig(s)
			put(t, path)
			vm := s.create("", config)
			err := vm.Start(patient(t))
			wantCode(t, err, smartvm.InvalidConfig)
			if hintOf(err) == "" || errors.Is(err, smartvm.CleanupFailed) {
				t.Errorf("got %v, want a hint and a start that was undone", err)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("what was there is gone: %v", err)
			}
			if exists(vm.Dir()) {
				t.Error("the directory is left")
			}
			must(t, vm.Cleanup(patient(t)))
		})
	}
}
