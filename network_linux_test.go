package smartvm_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/vmconfig"
)

// withNetwork runs a test on a host of its own, whose network must be in the end
// what it was.
func withNetwork(t *testing.T, opts smartvm.Options, body func(s *site)) {
	t.Helper()
	hosttest.Boot(t)
	nettest.Isolated(t, func(t *testing.T) {
		host := nettest.Host(t)
		host.Uplink(t, "up0", "192.0.2.2/24")
		before := host.Snapshot(t)
		t.Cleanup(func() { host.Same(t, before) })
		body(networkSite(t, opts))
	})
}

// configOf returns the config file that Firecracker was started with.
func configOf(t *testing.T, vm *smartvm.VM) *vmconfig.Config {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vm.Dir(), "config.json"))
	must(t, err)
	config, err := vmconfig.Parse(data)
	must(t, err)
	return config
}

func TestGuestIsToldItsMTUByAFirecrackerThatCan(t *testing.T) {
	for version, want := range map[string]int{"v1.15.0": 0, "v1.16.0": 1300} {
		t.Run(version, func(t *testing.T) {
			opts := smartvm.Options{Network: netconfig.Config{MTU: 1300}}
			withNetwork(t, opts, func(s *site) {
				t := s.t
				s.opts.FirecrackerPath = fake{Version: version}.install(t)
				m := s.another()
				vm, err := m.CreateVM("", s.networked())
				must(t, err)
				must(t, vm.Start(patient(t)))
				if got := configOf(t, vm).NetworkInterfaces[0].MTU; got != want {
					t.Errorf("the guest is told %d, want %d", got, want)
				}
				if tap, err := s.link(vm.TAPs()[0].Name); err != nil || tap.MTU != 1300 {
					t.Errorf("the TAP has %+v, %v", tap, err)
				}
			})
		})
	}
}

func TestIPArgumentLeavesAnotherAlone(t *testing.T) {
	withNetwork(t, smartvm.Options{}, func(s *site) {
		t := s.t
		if got := configOf(t, s.bootConfig(s.networked(hello.Stay, "ip=dhcp"))).BootSource.BootArgs; got != hello.Stay+" ip=dhcp" {
			t.Errorf("got %q", got)
		}
		config := s.networked(hello.Stay)
		config.Network = nil
		if got := configOf(t, s.bootConfig(config)).BootSource.BootArgs; got != hello.Stay {
			t.Errorf("nobody asked for an argument: %q", got)
		}
	})
}

// networkSite is bootSite for a runtime directory that has had a network before:
// its id and its lock stay in any case.
func networkSite(t *testing.T, opts smartvm.Options) *site {
	t.Helper()
	dir := shortDir(t)
	opts.RuntimeDir = filepath.Join(dir, "net")
	n, err := hostnet.New(hostnet.Options{Dir: opts.RuntimeDir})
	must(t, err)
	must(t, os.Mkdir(opts.RuntimeDir, 0o700))
	must(t, n.Hold(patient(t)))
	must(t, n.Close())
	return bootSiteWith(t, opts)
}

func (s *site) networked(words ...string) vmconfig.Config {
	config := s.config(words...)
	config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0"}}
	config.Network = &vmconfig.Network{IPArgument: true}
	return config
}

// link returns the host's interface of that name.
func (s *site) link(name string) (netlinux.Link, error) {
	host, err := netlinux.Open()
	must(s.t, err)
	link, err := host.Link(name)
	must(s.t, host.Close())
	return link, err
}

func TestVMGetsATAPAnAddressAndRules(t *testing.T) {
	withNetwork(t, smartvm.Options{}, func(s *site) {
		t := s.t
		config := s.networked(hello.Stay)
		config.Network.Egress = &netconfig.Policy{Default: netconfig.Deny}
		config.Network.Forwards = []netconfig.Forward{{HostPort: 8080, GuestPort: 80}}
		vm := s.bootConfig(config)
		taps := vm.TAPs()
		if len(taps) != 1 || taps[0].Addr != netip.MustParsePrefix("172.30.0.2/24") || taps[0].Iface != "eth0" || taps[0].VM != vm.ID() {
			t.Fatalf("got %+v", taps)
		}
		tap, err := s.link(taps[0].Name)
		must(t, err)
		bridge, err := s.link("svbr0")
		must(t, err)
		if !tap.Up || tap.Kind != "tun" || tap.Master != bridge.Index || !strings.HasPrefix(tap.Alias, "smartvm ") {
			t.Errorf("the TAP is %+v, the bridge %+v", tap, bridge)
		}
		follow(t, vm, smartvm.ConsoleOptions{}).find("ip=172.30.0.2::172.30.0.1:255.255.255.0:" + vm.ID() + ":eth0:off")
		info, err := s.Network().Info(patient(t))
		must(t, err)
		if len(info.Guests) != 1 || info.Guests[0].Egress.Default != netconfig.Deny || len(info.Guests[0].Forwards) != 1 {
			t.Errorf("the network has %+v", info.Guests)
		}
		if faults, err := s.Network().Check(patient(t)); err != nil || len(faults) > 0 {
			t.Errorf("the network is not as planned: %v, %v", faults, err)
		}
		entry, err := s.Inspect(patient(t), vm.ID())
		must(t, err)
		if len(entry.Addresses) != 1 || entry.Addresses[0] != taps[0].Addr.Addr() {
			t.Errorf("the inventory has %v", entry.Addresses)
		}
		must(t, vm.Cleanup(patient(t)))
		if _, err := s.link(taps[0].Name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the TAP is still there: %v", err)
		}
	})
}

func TestNetworkGoesWithManagerAndStaysForDetachedVM(t *testing.T) {
	withNetwork(t, smartvm.Options{}, func(s *site) {
		t := s.t
		vm := s.bootConfig(s.networked(hello.Stay))
		must(t, s.Close())
		if _, err := s.link("svbr0"); err != nil {
			t.Errorf("the bridge of a VM that runs is gone: %v", err)
		}
		adopted, err := s.another().Adopt(patient(t), vm.ID())
		must(t, err)
		if got := adopted.TAPs(); len(got) != 1 || got[0].Name != vm.TAPs()[0].Name {
			t.Errorf("the adopted VM has %v", got)
		}
		must(t, adopted.Cleanup(patient(t)))
		if _, err := s.link("svbr0"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the bridge outlives its last VM: %v", err)
		}
	})
}

func TestFailedStartUndoesItsNetwork(t *testing.T) {
	withNetwork(t, smartvm.Options{}, func(s *site) {
		t := s.t
		config := s.networked(hello.Stay)
		config.BootSource.KernelImagePath = filepath.Join(s.files, "kernel")
		write(t, config.BootSource.KernelImagePath, []byte("not a kernel"))
		vm := s.create("broken", config)
		wantCode(t, vm.Start(patient(t)), smartvm.ProcessExited)
		wantState(t, vm, smartvm.Failed)
		info, err := s.Network().Info(patient(t))
		must(t, err)
		if len(info.Guests) != 0 {
			t.Errorf("the network still has %+v", info.Guests)
		}
	})
}

func TestCallersTAPOnTheNetworkOutlivesItsVM(t *testing.T) {
	withNetwork(t, smartvm.Options{}, func(s *site) {
		t := s.t
		tap, err := s.Network().CreateTAP(patient(t), "mine", "eth0")
		must(t, err)
		config := s.config(hello.Stay, tap.IPArgument("eth0"))
		config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0", HostDevName: tap.Name, GuestMAC: tap.MAC}}
		vm := s.bootConfig(config)
		must(t, vm.Cleanup(patient(t)))
		if _, err := s.link(tap.Name); err != nil {
			t.Errorf("the caller's TAP is gone with the VM: %v", err)
		}
		must(t, s.Cleanup(patient(t)))
		if _, err := s.link(tap.Name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the TAP outlives its manager: %v", err)
		}
	})
}

func TestAddressesAreExhaustedUnlessTheyMayBeReused(t *testing.T) {
	for _, reuse := range []bool{false, true} {
		name := "given once"
		if reuse {
			name = "reused"
		}
		t.Run(name, func(t *testing.T) {
			opts := smartvm.Options{Network: netconfig.Config{Subnet: netip.MustParsePrefix("10.9.0.0/30")}, ReuseAddresses: reuse}
			withNetwork(t, opts, func(s *site) {
				t := s.t
				must(t, s.bootConfig(s.networked(hello.Stay)).Cleanup(patient(t)))
				err := s.create("second", s.networked(hello.Stay)).Start(patient(t))
				if reuse != (err == nil) || err != nil && !errors.Is(err, errcode.IPExhausted) {
					t.Errorf("reuse %t: got %v", reuse, err)
				}
			})
		})
	}
}
