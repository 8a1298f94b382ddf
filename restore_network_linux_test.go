package smartvm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/vmconfig"
)

func TestClonesKeepTheirAddressesInsideAndGetOthersOutside(t *testing.T) {
	withNetwork(t, smartvm.Options{}, func(s *site) {
		t := s.t
		config := s.networked(hello.CountEach(5 * time.Millisecond))
		config.Network.Forwards = []netconfig.Forward{{HostPort: 8080, GuestPort: 80}}
		origin := s.bootConfig(config)
		counts(t, origin, 0)
		_, err := origin.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
		must(t, err)
		n := lastCount(t, output(t, origin))
		vms, err := s.Clone(patient(t), "warm", 3, smartvm.CloneOptions{})
		must(t, err)
		seen := map[string]bool{origin.TAPs()[0].Addr.String(): true}
		networks := map[string]bool{}
		for i, vm := range vms {
			if want := fmt.Sprintf("warm-%d", i+1); vm.ID() != want {
				t.Errorf("clone %d is %s, want %s", i, vm.ID(), want)
			}
			counts(t, vm, n)
			tap := vm.TAPs()[0]
			if seen[tap.Addr.String()] || tap.Name != "tap0" || tap.Port == "" || tap.GatewayMAC != origin.TAPs()[0].GatewayMAC {
				t.Errorf("clone has %+v, the first VM %+v", tap, origin.TAPs()[0])
			}
			seen[tap.Addr.String()] = true
			networks[namespace(t, s.pid(vm), "net")] = true
			if port, err := s.link(tap.Port); err != nil || !port.Up {
				t.Errorf("port %+v, %v", port, err)
			}
		}
		if len(networks) != len(vms) {
			t.Errorf("they are in the namespaces %v", networks)
		}

		// One of a clone knows itself as the first VM does.
		_, err = vms[0].Snapshot(patient(t), "later", smartvm.SnapshotOptions{})
		must(t, err)
		web := &vmconfig.Network{Forwards: []netconfig.Forward{{HostPort: 8081, GuestPort: 80}}}
		again, err := s.Restore(patient(t), "later", smartvm.RestoreOptions{Network: web})
		must(t, err)
		counts(t, again, n)
		if tap := again.TAPs()[0]; tap.Name != "tap0" || seen[tap.Addr.String()] {
			t.Errorf("it has %+v", tap)
		}
		must(t, s.Cleanup(patient(t)))
	})
}

// Firecracker can be told another TAP than the snapshot's since v1.12. Before, the one that
// is made has its name.
func TestTAPOfARestoredGuestIsTheOneThatFirecrackerLooksFor(t *testing.T) {
	nics := []firecracker.NetworkInterface{{IfaceID: "lan"}, {IfaceID: "own", HostDevName: "mine"}, {IfaceID: "wan"}}
	for version, want := range map[string]map[string]string{
		"1.11.0": {"lan": "was-lan", "wan": "was-wan"},
		"1.12.0": {"lan": "tap0", "wan": "tap1"},
		"1.16.1": {"lan": "tap0", "wan": "tap1"},
	} {
		taps, told, err := smartvm.RestoredTAPs(version, nics)
		must(t, err)
		if diff := cmp.Diff(want, taps); diff != "" {
			t.Errorf("%s: %s", version, diff)
		}
		overrides := map[string]string{}
		for _, o := range told {
			overrides[o.IfaceID] = o.HostDevName
		}
		if version == "1.11.0" {
			want = map[string]string{}
		}
		if diff := cmp.Diff(want, overrides); diff != "" {
			t.Errorf("%s is told: %s", version, diff)
		}
	}
}

func TestOneCloneThatFailsTakesTheOthersWithIt(t *testing.T) {
	withNetwork(t, smartvm.Options{Network: netconfig.Config{}}, func(s *site) {
		t := s.t
		origin := s.bootConfig(s.networked(hello.Stay))
		_, err := origin.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
		must(t, err)
		s.create("warm-4", s.config()) // takes a clone's id
		_, err = s.Clone(patient(t), "warm", 6, smartvm.CloneOptions{})
		wantCode(t, err, smartvm.VMExists)
		if vms := s.VMs(); len(vms) != 2 {
			t.Errorf("left: %v", vms)
		}
		must(t, s.Cleanup(patient(t)))
	})
}

// TestRestoreNeedsTheTAPOfItsCaller takes the TAP away that a snapshot names, and puts it
// back.
func TestRestoreNeedsTheTAPOfItsCaller(t *testing.T) {
	withNetwork(t, smartvm.Options{}, func(s *site) {
		t := s.t
		tap, err := s.Network().CreateTAP(patient(t), "mine", "eth0")
		must(t, err)
		config := s.config(hello.CountEach(5 * time.Millisecond))
		config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0", HostDevName: tap.Name, GuestMAC: tap.MAC}}
		origin := s.bootConfig(config)
		counts(t, origin, 0)
		_, err = origin.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{KeepPaused: true})
		must(t, err)
		must(t, origin.Cleanup(patient(t)))
		must(t, s.Network().DeleteTAP(patient(t), tap.Name))

		_, err = s.Restore(patient(t), "warm", smartvm.RestoreOptions{ID: "again"})
		if e := wantCode(t, err, smartvm.InvalidConfig); !strings.Contains(e.Error(), tap.Name) {
			t.Errorf("got %v", err)
		}
		if _, err := os.Lstat(filepath.Join(s.RuntimeDir(), "again")); err == nil {
			t.Error("something was made")
		}
		again, err := s.Network().CreateTAP(patient(t), "mine", "eth0")
		must(t, err)
		if again.Name != tap.Name {
			t.Fatalf("the TAP is %s now, and was %s", again.Name, tap.Name)
		}
		vm, err := s.Restore(patient(t), "warm", smartvm.RestoreOptions{ID: "again"})
		must(t, err)
		counts(t, vm, 0)
		must(t, vm.Cleanup(patient(t)))
		must(t, s.Network().DeleteTAP(patient(t), tap.Name))
	})
}
