package smartvm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
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
			if seen[tap.Addr.String()] || tap.Name != origin.TAPs()[0].Name || tap.Port == "" || tap.GatewayMAC != origin.TAPs()[0].GatewayMAC {
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
		if tap := again.TAPs()[0]; tap.Name != origin.TAPs()[0].Name || seen[tap.Addr.String()] {
			t.Errorf("it has %+v", tap)
		}
		must(t, s.Cleanup(patient(t)))
	})
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
