package e2e_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/vmconfig"
)

// clonesOfAKind is half of the clones: one kind may reach what the other may not.
const clonesOfAKind = 10

func TestTwentyClonesOfAGuestAreMachinesOfTheirOwn(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		claims(t, "S4.7, S4.8", "Twenty clones of one Linux guest go on where it was, at the same time, each with a disk of its own")
		claims(t, "S9.3", "Clones keep the addresses that they have inside; outside each has its own, by which the host reaches it")
		claims(t, "S10.1", "Each clone has an egress policy of its own, though all have the same address inside")
		w := newWorld(t)
		s := w.site(smartvm.Options{})
		config := s.networked(vmconfig.Network{})
		config.MachineConfig = &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: fleetMemMiB}
		config.Drives = append(config.Drives, vmconfig.Drive{Drive: firecracker.Drive{DriveID: "disk", PathOnHost: disk(t, "", 1)}})
		origin, g := s.boot(config)
		keepMind(t, g)
		setMind(t, g, "origin")
		serve(t, g)
		_, err := origin.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{KeepPaused: true})
		must(t, err)
		t.Cleanup(func() {
			must(t, s.manager.Cleanup(context.WithoutCancel(t.Context())))
			must(t, s.manager.Snapshots().Remove(context.WithoutCancel(t.Context()), "warm"))
		})
		must(t, g.Close())

		closed := s.clone("closed", &vmconfig.Network{Egress: policy(t, netconfig.Allow, "deny "+exampleIP+":81")})
		open := s.clone("open", &vmconfig.Network{})
		denied := watch(t, w.internet, "wan", func(p nettest.Packet) bool { return p.DstPort == 81 })
		for i, vm := range closed {
			w.liveAlone(vm, i < 2, nil)
		}
		denied.none("what the clones' policy denies")
		for i, vm := range open {
			w.liveAlone(vm, false, func(g *guest.Guest) {
				if i < 2 {
					wantReached(t, g, "tcp", exampleIP+":81", uplinkIP)
				}
			})
		}
	})
}

// clone makes clones that stand still.
func (s *site) clone(name string, network *vmconfig.Network) []*smartvm.VM {
	s.t.Helper()
	began := time.Now()
	vms, err := s.manager.Clone(patient(s.t), "warm", clonesOfAKind, smartvm.CloneOptions{
		RestoreOptions: smartvm.RestoreOptions{ID: name, Paused: true, Network: network}, Concurrency: 2,
	})
	must(s.t, err)
	s.t.Logf("%d clones after %.2f s", len(vms), time.Since(began).Seconds())
	return vms
}

// liveAlone wants a clone to go on with what the first guest had in mind and on its disk,
// and to keep to itself what it changes. It may ask for what is denied.
func (w *world) liveAlone(vm *smartvm.VM, asks bool, more func(*guest.Guest)) {
	t := w.t
	t.Helper()
	must(t, vm.Resume(patient(t)))
	g, err := guest.Attach(patient(t), vm)
	must(t, err)
	defer g.Close()
	// All in one: what twenty guests are asked takes a second each time.
	id := vm.ID()
	mind := output(t, g, "echo ? >/tmp/ask; cat /tmp/answer; echo "+id+" >/tmp/www/name; echo "+id+" | dd of=/dev/vdb bs=512 conv=sync,fsync 2>/dev/null")
	if mind != "origin" {
		t.Errorf("%s has %q in mind", id, mind)
	}
	text, err := os.ReadFile(vm.Drives()[0].Path)
	must(t, err)
	if !strings.HasPrefix(string(text), id+"\n") {
		t.Errorf("the drive of %s has %.16q", id, text)
	}
	page := fetch(t, w.host, vm.TAPs()[0].Addr.Addr().String()+":80", "/name")
	if _, body, _ := strings.Cut(page, "\r\n\r\n"); strings.TrimSpace(body) != id {
		t.Errorf("at the address of %s answers %q", id, page)
	}
	if asks {
		p := probe{"tcp", exampleIP + ":81"}
		task := p.ask(t, g)
		wantReached(t, g, "tcp", exampleIP+":80", uplinkIP)
		end(t, task)
	}
	if more != nil {
		more(g)
	}
}
