package smartvm_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/internal/hello"
)

func TestVMsWithoutInterfacesShareANetworkWithNothingInIt(t *testing.T) {
	needJail(t)
	s := bootSite(t)
	network := func(pid string) string {
		t.Helper()
		text, err := os.Readlink("/proc/" + pid + "/ns/net")
		must(t, err)
		return text
	}
	var seen []string
	for range 2 {
		pid := strconv.Itoa(s.pid(s.boot(hello.Stay)))
		seen = append(seen, network(pid))
		devices, err := os.ReadFile("/proc/" + pid + "/net/dev")
		must(t, err)
		if n := strings.Count(string(devices), "\n"); n != 3 || !strings.Contains(string(devices), "\n    lo:") {
			t.Errorf("want two lines of headings and the loopback interface, got\n%s", devices)
		}
	}
	if ours := network("self"); seen[0] == ours || seen[0] != seen[1] {
		t.Errorf("networks %v, ours %s, want the same and not ours", seen, ours)
	}
}
