package main

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStaticAddressIsReadAsTheKernelReadsIt(t *testing.T) {
	t.Parallel()
	ip := netip.MustParseAddr
	want := address{"eth0", ip("172.30.0.2"), ip("255.255.255.0"), ip("172.30.0.1"), []netip.Addr{ip("203.0.113.53"), ip("1.1.1.1")}}
	got, err := parseAddress("172.30.0.2::172.30.0.1:255.255.255.0:vm-1:eth0:off:203.0.113.53:1.1.1.1")
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(address{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, text := range []string{
		"", "dhcp", "172.30.0.2", "172.30.0.2::172.30.0.1:255.255.255.0:vm:eth0:dhcp", "x::172.30.0.1:255.255.255.0:vm:eth0:off",
		"172.30.0.2::172.30.0.1:255.255.255.0:vm:eth0:off:x",
	} {
		if got, err := parseAddress(text); err == nil {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}
