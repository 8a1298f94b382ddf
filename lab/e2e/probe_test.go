package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/lab/guest"
)

// probe is a question to a [nettest.Server]: tcp and udp to an address and a port, icmp
// to an address. On a link it is the kind of packet that such a question consists of.
type probe struct{ network, to string }

// String says it for people.
func (p probe) String() string { return p.network + " " + p.to }

// ask has the guest ask, for as long as it takes. The shell makes way for the program:
// each process costs the guest's machine dearly.
func (p probe) ask(t *testing.T, g *guest.Guest) *guest.Task {
	t.Helper()
	host, port, _ := strings.Cut(p.to, ":")
	command := map[string]string{
		"tcp":  fmt.Sprintf("exec nc %s %s <<.\nq\n.", host, port),
		"udp":  fmt.Sprintf("exec udp %s q", p.to),
		"icmp": fmt.Sprintf("exec ping -q -c 1 -W 999 %s >/dev/null", host),
	}[p.network]
	task, err := g.Start(patient(t), command)
	must(t, err)
	return task
}

// answered waits for the answer, and returns where the question came from for who has
// answered; nothing for icmp.
func (p probe) answered(t *testing.T, task *guest.Task) string {
	t.Helper()
	if p.network == "icmp" {
		if result, err := task.Wait(patient(t)); err != nil || result.Code != 0 {
			t.Errorf("%s: %+v, %v", p, result, err)
		}
		return ""
	}
	if err := task.WaitOutput(patient(t), " q\n"); err != nil {
		t.Error(err)
	}
	end(t, task)
	seen, _, _ := strings.Cut(task.Result().Stdout, ":")
	return seen
}

// end ends a command in the guest.
func end(t *testing.T, task *guest.Task) {
	t.Helper()
	must(t, task.Kill(patient(t)))
	_, err := task.Wait(patient(t))
	must(t, err)
}

// reach wants the guest to be answered, and returns where it came from for who has
// answered.
func reach(t *testing.T, g *guest.Guest, network, to string) string {
	t.Helper()
	p := probe{network, to}
	return p.answered(t, p.ask(t, g))
}

// wantReached wants the guest to be answered by somebody who takes it for seen.
func wantReached(t *testing.T, g *guest.Guest, network, to, seen string) {
	t.Helper()
	if got := reach(t, g, network, to); got != seen {
		t.Errorf("%s %s: the guest is seen as %q, want %q", network, to, got, seen)
	}
}

// sightings are the packets that were seen on a link.
type sightings struct {
	*nettest.Capture

	t       *testing.T
	mu      sync.Mutex
	count   map[probe]int
	changed chan struct{} // closed and replaced with each packet
}

// watch counts the packets on a link that match.
func watch(t *testing.T, on *nettest.Namespace, iface string, match func(nettest.Packet) bool) *sightings {
	t.Helper()
	s := &sightings{t: t, count: make(map[probe]int), changed: make(chan struct{})}
	s.Capture = on.Capture(t, iface, func(p nettest.Packet) bool {
		if !match(p) {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.count[kind(p)]++
		close(s.changed)
		s.changed = make(chan struct{})
		return true
	})
	return s
}

// fromGuest matches what comes out of a TAP.
func fromGuest(p nettest.Packet) bool { return !p.Outgoing }

// kind is what a packet is as a [probe].
func kind(p nettest.Packet) probe {
	to := netip.AddrPortFrom(p.Dst, uint16(p.DstPort)).String()
	switch {
	case p.Type == nettest.TypeARP:
		return probe{"arp", p.Dst.String()}
	case p.Protocol == 6:
		return probe{"tcp", to}
	case p.Protocol == 17:
		return probe{"udp", to}
	case p.Protocol == 1:
		return probe{"icmp", p.Dst.String()}
	}
	return probe{fmt.Sprintf("type %#x", p.Type), p.Dst.String()}
}

// seen returns how many there were so far.
func (s *sightings) seen(p probe) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[p]
}

// wait waits until there were so many.
func (s *sightings) wait(p probe, count int) {
	s.t.Helper()
	ctx := patient(s.t)
	for {
		s.mu.Lock()
		got, changed := s.count[p], s.changed
		s.mu.Unlock()
		if got >= count {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			s.t.Fatalf("%s: %d packets, want %d: %v", p, got, count, context.Cause(ctx))
		}
	}
}

// more waits for more of them than there are now.
func (s *sightings) more(p probe, count int) {
	s.t.Helper()
	s.wait(p, s.seen(p)+count)
}

// stop ends the watch, and returns what was seen.
func (s *sightings) stop() []probe {
	s.t.Helper()
	s.Stop(s.t)
	return s.kinds()
}

// kinds returns what was seen so far.
func (s *sightings) kinds() []probe {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.count), func(a, b probe) int { return strings.Compare(a.String(), b.String()) })
}

// none ends the watch of what must not be.
func (s *sightings) none(what string) {
	s.t.Helper()
	if packets := s.Stop(s.t); len(packets) > 0 {
		s.t.Errorf("%d packets of %s, the first: %+v", s.Count(), what, packets[0])
	}
}
