package hostnet_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/nettest"
)

// user is a process with VMs on the network.
type user struct {
	cmd   *exec.Cmd
	stdin io.Closer
	lines *bufio.Scanner
}

func (s *ground) user(t *testing.T, program, id string, vms int) *user {
	t.Helper()
	return s.userIn(t, program, id, vms)
}

// userIn starts it by another command.
func (s *ground) userIn(t *testing.T, program, id string, vms int, by ...string) *user {
	t.Helper()
	words := append(slices.Clone(by), program, "use", s.runtime, strconv.Itoa(vms), id)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &user{cmd, stdin, bufio.NewScanner(stdout)}
}

// joined returns a line for each VM once all have joined.
func (u *user) joined() (lines []string) {
	for u.lines.Scan() && u.lines.Text() != "" {
		lines = append(lines, u.lines.Text())
	}
	return lines
}

func (u *user) leave() error { return errors.Join(u.stdin.Close(), u.cmd.Wait()) }

func (s *ground) hasLink(name string) bool {
	_, err := s.host.Netlink().LinkByName(name)
	return err == nil
}

func TestManyProcessesShareANetworkWithoutCollision(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	program := faulttest.Build(t, "testdata/controller")
	nettest.Isolated(t, func(t *testing.T) {
		const processes, each = 4, 50
		s := newGround(t)
		var users []*user
		for i := range processes {
			users = append(users, s.user(t, program, "p"+strconv.Itoa(i), each))
		}
		seen := map[string]bool{}
		for _, u := range users {
			for _, line := range u.joined() {
				for word := range strings.FieldsSeq(line) { // address, MAC address, TAP
					if seen[word] {
						t.Errorf("%s was given twice", word)
					}
					seen[word] = true
				}
			}
		}
		if len(seen) != processes*each*3 {
			t.Errorf("%d names of %d interfaces", len(seen), processes*each)
		}
		n := s.network(t, hostnet.Options{})
		if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
			t.Errorf("faults %+v, %v", faults, err)
		}
		var all sync.WaitGroup
		for _, u := range users {
			all.Go(func() {
				if err := u.leave(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		s.clean(t)
	})
}

func TestNetworkGoesWithTheLastOfTwoProcesses(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	program := faulttest.Build(t, "testdata/controller")
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		a, b := s.user(t, program, "a", 1), s.user(t, program, "b", 1)
		if a, b := a.joined(), b.joined(); len(a) != 1 || len(b) != 1 {
			t.Fatalf("joined: %v, %v", a, b)
		}
		if err := a.leave(); err != nil {
			t.Fatal(err)
		}
		if !s.hasLink("svbr0") {
			t.Error("the network went while somebody used it")
		}
		if err := b.leave(); err != nil {
			t.Fatal(err)
		}
		s.clean(t)
	})
}

// Two who release the same interface are a VM's owner that was taken for dead and
// whoever took over: it is enough that one of them does it.
func TestTwoMayReleaseTheSameAtOnce(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		for range 10 {
			n := s.network(t, hostnet.Options{ReuseAddresses: true})
			v := s.vm(t, "vm")
			v.attach(t, n)
			view, err := ledger.Read(s.runtime, "vm", kinds())
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for _, r := range append(view.Resources, view.Resources[0]) {
				all.Go(func() {
					if err := r.Release(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			all.Go(func() {
				if err := v.Release(t.Context()); err != nil {
					t.Error(err)
				}
			})
			all.Wait()
			v.gone(t)
			s.clean(t)
		}
	})
}

func TestReleaseWithoutTheNetworksFilesRemovesTheTAP(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		v := s.vm(t, "vm")
		tap := v.attach(t, n)
		if err := os.RemoveAll(s.runtime + "/.networks/svbr0"); err != nil {
			t.Fatal(err)
		}
		v.gone(t)
		if s.hasLink(tap.Name) {
			t.Error("the TAP is there")
		}
		// What has lost its record is found by its mark.
		found, err := hostnet.GC(t.Context(), s.runtime, false)
		if err != nil || len(found) == 0 {
			t.Errorf("gc: %+v, %v", found, err)
		}
		s.clean(t)
	})
}

func TestGCSparesWhatOthersHaveMade(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		others, s := newGround(t), newGround(t)
		other := others.vm(t, "vm")
		other.attach(t, others.network(t, hostnet.Options{Config: config("other0", "10.99.0.0/24")}))
		v := s.vm(t, "vm")
		v.attach(t, s.network(t, hostnet.Options{}))
		addLink(t, s, "svbr1", "")
		before := s.host.Snapshot(t)
		for _, dry := range []bool{true, false} {
			if found, err := hostnet.GC(t.Context(), s.runtime, dry); err != nil || len(found) > 0 {
				t.Errorf("gc: %+v, %v", found, err)
			}
		}
		s.host.Same(t, before)
		try(t, s.host.Netlink().LinkDel(s.host.Link(t, "svbr1")))
		v.gone(t)
		other.gone(t)
		s.clean(t)
		others.clean(t)
	})
}
