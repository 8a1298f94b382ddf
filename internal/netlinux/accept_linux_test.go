package netlinux_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/ruleset"
)

func accepts(b netplan.Barrier) netplan.Accept {
	p := func(when ...ruleset.Match) ruleset.Rule { return rule(do(accept), when...) }
	return netplan.Accept{Barrier: b, Rules: []ruleset.Rule{
		p(is(ruleset.InIface, name("br0"))),
		p(is(ruleset.OutIface, name("br0")), is(ruleset.CTState, n32(ruleset.StateEstablished|ruleset.StateRelated))),
		p(is(ruleset.OutIface, name("br0")), is(ruleset.CTStatus, n32(ruleset.StatusDNAT))),
	}}
}

// barrier is a rule set that drops what is forwarded.
type barrier struct {
	load func(*nettest.Namespace, testing.TB)
	netplan.Barrier
}

func barriers() map[string]barrier {
	filter := netplan.Barrier{Family: ruleset.IP, Table: "filter", Chain: "FORWARD", Why: "policy drop"}
	return map[string]barrier{
		"Docker":    {(*nettest.Namespace).DockerLike, filter},
		"ufw":       {(*nettest.Namespace).UfwLike, filter},
		"firewalld": {(*nettest.Namespace).FirewalldLike, netplan.Barrier{Family: ruleset.Inet, Table: "firewalld", Chain: "filter_FORWARD", Why: "reject at its end"}},
	}
}

// firewalled is a host with the link br0 to a guest and a way to the world.
type firewalled struct {
	barrier

	host, guest, world *nettest.Namespace
}

// behind makes a host behind a barrier.
func behind(t *testing.T, b barrier) firewalled {
	t.Helper()
	hosttest.Need(t, hosttest.Tool("nft"), hosttest.Tool("iptables-nft"))
	host, guest := nettest.Host(t), nettest.NewNamespace(t)
	nettest.Connect(t, nettest.End{In: host, Iface: "br0", Addrs: []string{"172.30.0.1/24"}},
		nettest.End{In: guest, Iface: "eth0", Addrs: []string{"172.30.0.2/24"}})
	guest.AddRoute(t, "0.0.0.0/0", "172.30.0.1")
	world := host.Uplink(t, "up0", "198.51.100.1/24")
	world.AddRoute(t, "172.30.0.0/24", "198.51.100.1")
	host.SetSysctl(t, "net/ipv4/ip_forward", "1")
	b.load(host, t)
	return firewalled{b, host, guest, world}
}

func TestAcceptsLetGuestsThroughTheFirewallsOfOthers(t *testing.T) {
	t.Parallel()
	for name, b := range barriers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				f := behind(t, b)
				f.world.Serve(t, "tcp", "198.51.100.254:80")
				f.guest.Serve(t, "tcp", "172.30.0.2:80")
				nft(t, f.host, "table ip published { chain c { type nat hook prerouting priority -150; tcp dport 8080 dnat to 172.30.0.2:80; }; }", "-f", "-")
				h := open(t)
				got, err := h.Barriers(t.Context())
				must(t, err)
				if diff := cmp.Diff([]netplan.Barrier{f.Barrier}, got); diff != "" {
					t.Errorf("barriers (-want +got):\n%s", diff)
				}
				f.guest.Block(t, "tcp", "198.51.100.254:80")
				if f.Family != ruleset.Inet { // firewalld lets pass what was translated
					f.world.Block(t, "tcp", "198.51.100.1:8080")
				}
				must(t, h.AddAccept(accepts(f.Barrier), mark))
				f.guest.Reach(t, "tcp", "198.51.100.254:80")
				f.world.Reach(t, "tcp", "198.51.100.1:8080")
				f.world.Block(t, "tcp", "172.30.0.2:80")
			})
		})
	}
}

func TestAcceptsAreAddedOnceAndLeaveNothing(t *testing.T) {
	t.Parallel()
	for name, b := range barriers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				f := behind(t, b)
				h, a := open(t), accepts(f.Barrier)
				before := nft(t, f.host, "", "-a", "list", "ruleset")
				has := func(want bool) {
					t.Helper()
					if got, err := h.HasAccept(a, mark); err != nil || got != want {
						t.Errorf("HasAccept: %t, %v; want %t", got, err, want)
					}
				}
				has(false)
				must(t, h.AddAccept(a, foreign)) // another smartvm's
				theirs := nft(t, f.host, "", "-a", "list", "ruleset")
				has(false)
				must(t, h.AddAccept(a, mark))
				has(true)
				once := nft(t, f.host, "", "-a", "list", "ruleset")
				must(t, h.AddAccept(a, mark))
				if twice := nft(t, f.host, "", "-a", "list", "ruleset"); twice != once {
					t.Errorf("the second time changed something:\n%s", cmp.Diff(once, twice))
				}
				fewer := a
				fewer.Rules = a.Rules[:1]
				must(t, h.AddAccept(fewer, mark))
				has(false)
				must(t, h.AddAccept(a, mark))
				for range 2 {
					must(t, h.RemoveAccept(f.Barrier, mark))
					has(false)
					if after := nft(t, f.host, "", "-a", "list", "ruleset"); after != theirs {
						t.Errorf("not as it was:\n%s", cmp.Diff(theirs, after))
					}
				}
				must(t, h.RemoveAccept(f.Barrier, foreign))
				if after := nft(t, f.host, "", "-a", "list", "ruleset"); after != before {
					t.Errorf("not as it was:\n%s", cmp.Diff(before, after))
				}
			})
		})
	}
}

// Otherwise iptables would give up on the whole table.
func TestIptablesShowsAcceptsAsItsOwn(t *testing.T) {
	t.Parallel()
	for name, b := range barriers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				f := behind(t, b)
				if f.Family != ruleset.IP {
					t.Skip("the chain is not one of iptables")
				}
				h := open(t)
				must(t, h.AddAccept(accepts(f.Barrier), mark))
				comment := ` -m comment --comment "` + mark + `" -j ACCEPT`
				want := []string{
					"-P FORWARD DROP", "-A FORWARD -i br0" + comment,
					"-A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED" + comment, "-A FORWARD -o br0 -m conntrack --ctstate DNAT" + comment,
				}
				listed := strings.Split(command(t, f.host, "", "iptables-nft", "-S", "FORWARD"), "\n")
				if diff := cmp.Diff(want, listed[:len(want)]); diff != "" {
					t.Errorf("iptables -S (-want +got):\n%s", diff)
				}
				if text := command(t, f.host, "", "iptables-nft", "-L", "FORWARD", "-n", "-v"); strings.Count(text, mark) != len(want)-1 {
					t.Errorf("iptables -L:\n%s", text)
				}
				// Somebody saves the rules and restores them: they are still ours.
				saved := command(t, f.host, "", "iptables-nft-save")
				command(t, f.host, saved, "iptables-nft-restore")
				if got, err := h.HasAccept(accepts(f.Barrier), mark); err != nil || !got {
					t.Errorf("not found after a restore: %v\n%s", err, command(t, f.host, "", "iptables-nft", "-S", "FORWARD"))
				}
				must(t, h.RemoveAccept(f.Barrier, mark))
				if text := command(t, f.host, "", "iptables-nft", "-S", "FORWARD"); strings.Contains(text, mark) {
					t.Errorf("left after a restore:\n%s", text)
				}
			})
		})
	}
}

func TestBarriersAreThoseThatDropWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	const hook = "type filter hook forward priority 0;"
	for _, tt := range []struct{ name, text, why string }{
		{"accepting chain", `table inet t { chain c { ` + hook + ` }; }`, ""},
		{"policy", `table inet t { chain c { ` + hook + ` policy drop; iifname "a" accept; }; }`, "policy drop"},
		{"family ip", `table ip t { chain c { ` + hook + ` policy drop; }; }`, "policy drop"},
		{"IPv6 only", `table ip6 t { chain c { ` + hook + ` policy drop; }; }`, ""},
		{"another hook", `table inet t { chain c { type filter hook input priority 0; policy drop; }; }`, ""},
		{"not a base chain", `table inet t { chain c { drop; }; }`, ""},
		{"of smartvm", `table inet t { comment "smartvm ba9876543210 br1 /x"; chain c { ` + hook + ` policy drop; }; }`, ""},
		{"drop at the end", `table inet t { chain c { ` + hook + ` iifname "a" accept; counter log prefix "x" drop; }; }`, "drop at its end"},
		{"reject at the end", `table inet t { chain c { ` + hook + ` reject; }; }`, "reject at its end"},
		{"a condition", `table inet t { chain c { ` + hook + ` iifname "a" drop; limit rate 1/second drop; ct state invalid drop; }; }`, ""},
		{"accept before", `table inet t { chain c { ` + hook + ` policy drop; accept; drop; }; }`, ""},
		{"drop before", `table inet t { chain c { ` + hook + ` drop; accept; }; }`, "drop at its end"},
		{"jump", `table inet t { chain d { iifname "a" accept; drop; }; chain c { ` + hook + ` jump d; }; }`, "drop at its end"},
		{"jump with a condition", `table inet t { chain d { drop; }; chain c { ` + hook + ` iifname "a" jump d; }; }`, ""},
		{"jump that comes back", `table inet t { chain d { iifname "a" drop; return; drop; }; chain c { ` + hook + ` jump d; }; }`, ""},
		{"goto", `table inet t { chain d { iifname "a" accept; }; chain c { ` + hook + ` policy drop; goto d; accept; }; }`, "policy drop"},
		{"goto that rejects", `table inet t { chain e { reject; }; chain d { goto e; }; chain c { ` + hook + ` goto d; }; }`, "reject at its end"},
		{"mark", `table inet t { chain c { ` + hook + ` meta mark set 1 accept; drop; }; }`, ""},
		{"map of verdicts", `table inet t { chain c { ` + hook + ` iifname vmap { "a" : drop }; }; }`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				hosttest.Need(t, hosttest.Tool("nft"))
				nft(t, nettest.Host(t), tt.text, "-f", "-")
				got, err := open(t).Barriers(t.Context())
				must(t, err)
				why := ""
				for _, b := range got {
					why += b.Why
				}
				if why != tt.why {
					t.Errorf("barriers %v, want %q", got, tt.why)
				}
			})
		})
	}
}

// Newer firewalld's table is of this kind.
func TestAcceptsThatOthersForbidSayWhatToDo(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h, firewall := open(t), open(t)
		must(t, firewall.AddOwned("firewalld", "filter_FORWARD"))
		got, err := h.Barriers(t.Context())
		must(t, err)
		want := netplan.Barrier{Family: ruleset.Inet, Table: "firewalld", Chain: "filter_FORWARD", Why: "policy drop"}
		if diff := cmp.Diff([]netplan.Barrier{want}, got); diff != "" {
			t.Errorf("barriers (-want +got):\n%s", diff)
		}
		err = h.AddAccept(accepts(want), mark)
		if e, ok := errors.AsType[*errcode.Error](err); !ok || e.Code != errcode.NetworkFailed || !strings.Contains(e.Hint, "firewall-cmd --permanent --zone=trusted --add-interface=br0") {
			t.Error(err)
		}
		must(t, h.RemoveAccept(want, mark))
	})
}

func TestAcceptsOfAChainThatIsGoneAreGone(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		for _, b := range barriers() {
			if err := h.AddAccept(accepts(b.Barrier), mark); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, errcode.NetworkFailed) {
				t.Error(err)
			}
			if has, err := h.HasAccept(accepts(b.Barrier), mark); err != nil || has {
				t.Errorf("has it: %t, %v", has, err)
			}
			must(t, h.RemoveAccept(b.Barrier, mark))
		}
	})
}
