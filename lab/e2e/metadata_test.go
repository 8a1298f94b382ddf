package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/lab/guest"
)

func TestMetadataV2WantsAToken(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		claims(t, "S5.1", "With MMDS V2 a guest that has no token, or a false one, gets no metadata, and with a token the value")
		claims(t, "S4.5", "A running guest finds the metadata that was set last, which is what the host reads back as well")
		vm, g := bootWithMetadata(t, firecracker.MMDSConfig{Version: "V2"}, firecracker.Metadata{"app": map[string]any{"name": "first"}})
		const url = "http://169.254.169.254/app/name"
		refused := func(headers ...string) {
			t.Helper()
			if text, ok := fetchMetadata(t, g, url, headers...); ok || !strings.Contains(text, " 401 ") {
				t.Errorf("with the headers %q the guest gets %q, want 401", headers, text)
			}
		}
		refused()
		refused("X-metadata-token: false")
		token := "X-metadata-token: " + output(t, g,
			`printf 'PUT /latest/api/token HTTP/1.0\r\nX-metadata-token-ttl-seconds: 600\r\n\r\n' | nc 169.254.169.254 80 | tail -n 1`)
		if text, ok := fetchMetadata(t, g, url, token); !ok || text != "first" {
			t.Errorf("with a token the guest gets %q, want the value of the configuration", text)
		}
		want := firecracker.Metadata{"app": map[string]any{"name": "second"}}
		must(t, vm.SetMetadata(patient(t), want))
		if text, ok := fetchMetadata(t, g, url, token); !ok || text != "second" {
			t.Errorf("the guest gets %q, want the value that was set", text)
		}
		got, err := vm.GetMetadata(patient(t))
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the host reads something else (-want +got):\n%s", diff)
		}
		refused()
		shutDown(t, vm)
	})
}

func TestMetadataV1NeedsNoToken(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		claims(t, "S5.1", "With MMDS V1 a guest gets metadata without a token, at the address that was configured")
		claims(t, "S4.5", "Metadata may be larger than what a Firecracker takes that was told nothing else")
		const size = 60_000 // of 51200
		vm, g := bootWithMetadata(t, firecracker.MMDSConfig{Version: "V1", IPv4Address: "169.254.10.10"},
			firecracker.Metadata{"name": "value", "large": strings.Repeat("x", size)})
		if text, ok := fetchMetadata(t, g, "http://169.254.10.10/name"); !ok || text != "value" {
			t.Errorf("the guest gets %q", text)
		}
		if got := output(t, g, "wget -q -O - http://169.254.10.10/large | wc -c"); got != fmt.Sprint(size) {
			t.Errorf("the guest gets %s bytes, want %d", got, size)
		}
		shutDown(t, vm)
	})
}

// bootWithMetadata boots a guest whose eth0 is configured and answers for metadata.
func bootWithMetadata(t *testing.T, mmds firecracker.MMDSConfig, data firecracker.Metadata) (*smartvm.VM, *guest.Guest) {
	t.Helper()
	host := nettest.Host(t)
	host.AddTAP(t, "tap0")
	host.Up(t, "tap0")
	s := newSite(t, smartvm.Options{})
	config := s.config(baseimage.Squashfs)
	config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0", HostDevName: "tap0"}}
	mmds.NetworkInterfaces = []string{"eth0"}
	config.MMDSConfig, config.Metadata = &mmds, data
	vm, g := s.boot(config)
	output(t, g, "ip addr add 192.0.2.2/24 dev eth0 && ip link set eth0 up && ip route add 169.254.0.0/16 dev eth0")
	return vm, g
}

// fetchMetadata has a guest fetch a URL, and returns what it gets, or what it says about why
// it gets nothing.
func fetchMetadata(t *testing.T, g *guest.Guest, url string, headers ...string) (text string, ok bool) {
	t.Helper()
	command := "wget -q -O -"
	for _, h := range headers {
		command += fmt.Sprintf(" --header '%s'", h)
	}
	result, err := g.Run(patient(t), command+" "+url)
	must(t, err)
	return result.Stdout + result.Stderr, result.Code == 0
}
