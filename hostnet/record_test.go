package hostnet_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/netconfig"
)

// lay makes the directory of a network without anything in the kernel.
func lay(t *testing.T, addrs ...string) (runtime string) {
	t.Helper()
	runtime = t.TempDir()
	if err := hostnet.Lay(runtime, netconfig.Config{Bridge: "svbr0", Subnet: netip.MustParsePrefix("10.5.0.0/29")}, addrs...); err != nil {
		t.Fatal(err)
	}
	return runtime
}

func valueOf(t *testing.T, runtime string, reuse bool) *hostnet.Network {
	t.Helper()
	n, err := hostnet.New(hostnet.Options{Dir: runtime, ReuseAddresses: reuse})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAddressesWrapAndSkipThoseInUse(t *testing.T) {
	t.Parallel()
	runtime := lay(t, "10.5.0.3", "10.5.0.6")
	n := valueOf(t, runtime, true)
	for i, want := range []string{"10.5.0.2", "10.5.0.4", "10.5.0.5", "10.5.0.2", "10.5.0.4"} {
		if got, err := n.Next(); err != nil || got.String() != want {
			t.Errorf("address %d is %v, %v; want %s", i, got, err, want)
		}
	}
	once := valueOf(t, runtime, false)
	for _, want := range []string{"10.5.0.5", "10.5.0.2", "10.5.0.4"} {
		if got, err := once.Next(); err != nil || got.String() != want {
			t.Errorf("got %v, %v; want %s", got, err, want)
		}
	}
	if got, err := once.Next(); !errors.Is(err, errcode.IPExhausted) {
		t.Errorf("got %v, %v; want IP_EXHAUSTED", got, err)
	}
}

func TestDamagedCursorIsNoReasonToFail(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "garbage", `{"addr":"10.6.0.9"}`, `{"addr":"::1"}`, `{"addr":"10.5.0.7"}`, `{"addr":"255.255.255.255"}`, "[]"} {
		runtime := lay(t)
		if err := os.WriteFile(filepath.Join(runtime, ".networks/svbr0/cursor"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := valueOf(t, runtime, false).Next(); err != nil || got.String() != "10.5.0.2" {
			t.Errorf("with the cursor %q: %v, %v", text, got, err)
		}
	}
}

func TestLeasesThatCanNotBeAreRefused(t *testing.T) {
	t.Parallel()
	whole := lay(t, "10.5.0.2")
	text, err := os.ReadFile(filepath.Join(whole, ".networks/svbr0/leases/10.5.0.2"))
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{
		"not JSON":             "10.5.0.2",
		"another's":            strings.Replace(string(text), `"addr":"10.5.0.2"`, `"addr":"10.5.0.3"`, 1),
		"name with a slash":    strings.Replace(string(text), `"tap":"svt`, `"tap":"a/b`, 1),
		"long name":            strings.Replace(string(text), `"tap":"svt`, `"tap":"svtsvtsvtsvtsvt`, 1),
		"policy that is none":  strings.Replace(string(text), `"vm":`, `"egress":{"default":"allow","rules":[{"action":"deny","ports":["1-0"]}]},"vm":`, 1),
		"forward without port": strings.Replace(string(text), `"vm":`, `"forwards":[{"host_port":0,"guest_port":1}],"vm":`, 1),
		"group address":        strings.Replace(string(text), `"mac":[2,`, `"mac":[1,`, 1),
	}
	for name, line := range lines {
		if line == string(text) {
			t.Errorf("%s: nothing was replaced in %s", name, text)
		}
		runtime := lay(t, "10.5.0.2")
		if err := os.WriteFile(filepath.Join(runtime, ".networks/svbr0/leases/10.5.0.2"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := hostnet.ReadLeases(runtime, "svbr0"); err == nil || !strings.Contains(err.Error(), "10.5.0.2") {
			t.Errorf("%s: %v, want an error that names the file", name, err)
		}
	}
	for _, addr := range []string{"10.5.0.0", "10.5.0.1", "10.5.0.7", "10.6.0.2"} { // gateway, broadcast, outside
		if vms, err := hostnet.ReadLeases(lay(t, addr), "svbr0"); !errors.Is(err, errcode.LedgerFailed) {
			t.Errorf("lease of %s: %v, %v; want LEDGER_FAILED", addr, vms, err)
		}
	}
	if vms, err := hostnet.ReadLeases(whole, "svbr0"); err != nil || !slices.Equal(vms, []string{"10.5.0.2"}) {
		t.Errorf("a whole one: %v, %v", vms, err)
	}
}

func TestHalfWrittenFilesDoNotCount(t *testing.T) {
	t.Parallel()
	runtime := lay(t, "10.5.0.2")
	if err := os.WriteFile(filepath.Join(runtime, ".networks/svbr0/leases/.10.5.0.3.new"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if vms, err := hostnet.ReadLeases(runtime, "svbr0"); err != nil || len(vms) != 1 {
		t.Errorf("leases: %v, %v", vms, err)
	}
}

func TestLinkInPlaceOfAFileIsNotFollowed(t *testing.T) {
	t.Parallel()
	runtime := lay(t)
	path := filepath.Join(runtime, ".networks/svbr0/config.json")
	if err := errors.Join(os.Rename(path, filepath.Join(runtime, "elsewhere")), os.Symlink(filepath.Join(runtime, "elsewhere"), path)); err != nil {
		t.Fatal(err)
	}
	if list, err := hostnet.List(t.Context(), runtime); err == nil {
		t.Errorf("list: %+v", list)
	}
}

func TestStoredNetworkThatCanNotBeIsRefused(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"", "{}", "[]", `{"complete":true,"config":{"bridge":"svbr1","subnet":"10.5.0.0/24"}}`, `{"complete":true,"config":{"bridge":"svbr0"}}`,
		`{"complete":true,"config":{"bridge":"svbr0","subnet":"127.0.0.0/24"}}`, `{"complete":true,"config":{"bridge":"svbr0","subnet":"10.0.0.0/24","mtu":7}}`,
	} {
		runtime := lay(t)
		if err := os.WriteFile(filepath.Join(runtime, ".networks/svbr0/config.json"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		if list, err := hostnet.List(t.Context(), runtime); !errors.Is(err, errcode.LedgerFailed) {
			t.Errorf("%q: %+v, %v; want LEDGER_FAILED", line, list, err)
		}
	}
}

// What is in no ledger is garbage, and nothing else.
func TestGarbageIsWhatIsInNoLedger(t *testing.T) {
	t.Parallel()
	const inLedger, released, lost, ofGarbage = "10.5.0.2", "10.5.0.3", "10.5.0.4", "10.5.0.5"
	runtime := lay(t, inLedger, released, lost, ofGarbage)
	made := func(dir, name string, r ledger.Resource) *ledger.Ledger {
		t.Helper()
		l, err := ledger.Create(dir, name)
		if err == nil && r != nil {
			err = l.Make(r, func() error { return nil })
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	made(runtime, inLedger, hostnet.NIC(runtime, "svbr0", inLedger))
	made(runtime, released, hostnet.NIC(runtime, "svbr0", lost)) // it has something, but not this
	made(runtime, ofGarbage, hostnet.NIC(runtime, "svbr0", ofGarbage))
	holders := filepath.Join(runtime, ".networks/.holders")
	for _, user := range []string{"holds", "killed"} {
		h, err := hostnet.HoldOf(runtime, "svbr0", user)
		if err != nil {
			t.Fatal(err)
		}
		if user == "holds" {
			made(holders, user, h)
		}
	}
	leases, users, used, err := hostnet.Survey(t.Context(), runtime, "svbr0", filepath.Join(runtime, ofGarbage))
	if err != nil || !used || !slices.Equal(leases, []string{released, lost}) || !slices.Equal(users, []string{"killed"}) {
		t.Errorf("leases %v, users %v, used %t, %v", leases, users, used, err)
	}
	_, _, used, err = hostnet.Survey(t.Context(), runtime, "svbr0",
		filepath.Join(runtime, ofGarbage), filepath.Join(runtime, inLedger), filepath.Join(holders, "holds"))
	if err != nil || used {
		t.Errorf("without any live ledger: used %t, %v", used, err)
	}
}

func TestNamesOfInterfacesDifferAndStay(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, vm := range []string{"a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"} {
		for _, iface := range []string{"eth0", "eth1"} {
			for attempt := range 2 {
				tap, mac := hostnet.TAPName("0123456789ab", "svbr0", vm, iface, attempt), hostnet.HardwareAddr(vm, iface, attempt)
				if tap != hostnet.TAPName("0123456789ab", "svbr0", vm, iface, attempt) || netconfig.CheckInterfaceName(tap) != nil || !strings.HasPrefix(mac, "02:") {
					t.Errorf("TAP %s, MAC %s", tap, mac)
				}
				for _, name := range []string{tap, mac} {
					if seen[name] {
						t.Errorf("%s is used twice", name)
					}
					seen[name] = true
				}
			}
		}
	}
	if hostnet.TAPName("0123456789ab", "svbr0", "a", "eth0", 0) == hostnet.TAPName("0123456789ab", "svbr1", "a", "eth0", 0) ||
		hostnet.TAPName("0123456789ab", "svbr0", "a", "eth0", 0) == hostnet.TAPName("0123456789ac", "svbr0", "a", "eth0", 0) {
		t.Error("networks share names")
	}
}

func TestIPArgumentIsWhatTheKernelReads(t *testing.T) {
	t.Parallel()
	tap := hostnet.TAP{
		VM: "vm-1", Addr: netip.MustParsePrefix("172.30.0.2/20"), Gateway: netip.MustParseAddr("172.30.0.1"),
		DNS: []netip.Addr{netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("9.9.9.9")},
	}
	if got, want := tap.IPArgument("eth0"), "ip=172.30.0.2::172.30.0.1:255.255.240.0:vm-1:eth0:off:1.1.1.1:8.8.8.8"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	tap.DNS = nil
	if got, want := tap.IPArgument("eth1"), "ip=172.30.0.2::172.30.0.1:255.255.240.0:vm-1:eth1:off"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestKeysOfATunnelAreKeptByTheValueOnly(t *testing.T) {
	t.Parallel()
	runtime := t.TempDir()
	tunnel := func(key byte) *netconfig.WireGuard {
		return &netconfig.WireGuard{Tunnel: &netconfig.Tunnel{
			PrivateKey: netconfig.Key{key}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")},
			Peers: []netconfig.Peer{{
				PublicKey: netconfig.Key{2}, PresharedKey: netconfig.Key{3}, Endpoint: "192.0.2.1:51820",
				AllowedIPs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Keepalive: 25 * time.Second,
			}},
		}}
	}
	n, err := hostnet.New(hostnet.Options{Dir: runtime, Config: netconfig.Config{WireGuard: tunnel(1)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := hostnet.Lay(runtime, netconfig.Config{Bridge: "svbr0", WireGuard: tunnel(1)}); err != nil {
		t.Fatal(err)
	}
	joined, err := n.Join()
	if err != nil || joined.WireGuard.Tunnel.PrivateKey != (netconfig.Key{1}) || joined.WireGuard.Tunnel.Peers[0].PresharedKey != (netconfig.Key{3}) {
		t.Errorf("who has the keys: %+v, %v", joined, err)
	}
	joined, err = valueOf(t, runtime, false).Join()
	if err != nil || !joined.WireGuard.Tunnel.PrivateKey.IsZero() || !joined.WireGuard.Tunnel.Peers[0].PresharedKey.IsZero() {
		t.Errorf("who has not: %+v, %v", joined, err)
	}
	other, err := hostnet.New(hostnet.Options{Dir: runtime, Config: netconfig.Config{WireGuard: tunnel(9)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Join(); !errors.Is(err, errcode.InvalidWireGuardConfig) {
		t.Errorf("another key: %v", err)
	}
}

func TestTablesAreReplacedOnlyWhileNobodyJoinsOrLeaves(t *testing.T) {
	t.Parallel()
	runtime := t.TempDir()
	take := func() hostnet.Lock {
		t.Helper()
		l, err := hostnet.TakeRecords(t.Context(), runtime)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	first := take()
	if _, err := hostnet.TakeRecords(soon(), runtime); !errors.Is(err, errcode.Cancelled) {
		t.Errorf("two have the records: %v", err)
	}
	if err := first.ShareRules(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := take() // others join meanwhile
	if err := second.ShareRules(t.Context()); err != nil {
		t.Fatal(err)
	}
	replacer := take()
	if err := replacer.OwnRules(soon()); !errors.Is(err, errcode.Cancelled) {
		t.Errorf("tables are replaced while guests join: %v", err)
	}
	first.Unlock()
	first.Unlock()
	second.Unlock()
	if err := replacer.OwnRules(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := hostnet.TakeRecords(soon(), runtime); !errors.Is(err, errcode.Cancelled) {
		t.Errorf("somebody joins while tables are replaced: %v", err)
	}
	replacer.Unlock()
	take().Unlock()
}

func FuzzStoredNetwork(f *testing.F) {
	f.Add([]byte(`{"instance":"a","config":{"bridge":"svbr0","subnet":"10.5.0.0/24"},"mtu":1500,"complete":true}`), []byte(`{"default":"deny"}`))
	f.Add([]byte(`{"config":{"bridge":"svbr0","subnet":"10.5.0.0/24","wireguard":{"tunnel":{"addresses":["10.9.0.2/32"],"peers":[]}}},"complete":true}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, config, egress []byte) {
		runtime := lay(t, "10.5.0.2")
		dir := filepath.Join(runtime, ".networks/svbr0")
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600), os.WriteFile(filepath.Join(dir, "egress.json"), egress, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := hostnet.List(context.Background(), runtime); err != nil && errcode.Of(err, "") == "" {
			t.Errorf("an error without a code: %v", err)
		}
	})
}

func FuzzLease(f *testing.F) {
	f.Add([]byte(`{"tap":"svtx","mac":[2,0,0,0,0,1],"addr":"10.5.0.2","vm":"a","iface":"eth0","ledger":"/x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		runtime := lay(t)
		if err := os.WriteFile(filepath.Join(runtime, ".networks/svbr0/leases/10.5.0.2"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := hostnet.List(t.Context(), runtime)
		switch {
		case err != nil && errcode.Of(err, "") == "":
			t.Errorf("an error without a code: %v", err)
		case err == nil && (len(list) != 1 || len(list[0].Guests) != 1 || list[0].Guests[0].Addr.String() != "10.5.0.2"):
			t.Errorf("read as %+v", list)
		}
	})
}
