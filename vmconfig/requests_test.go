package vmconfig_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

func requestsText(t *testing.T, c *vmconfig.Config) string {
	t.Helper()
	var b strings.Builder
	for _, r := range c.Requests() {
		var body bytes.Buffer
		e := json.NewEncoder(&body)
		e.SetEscapeHTML(false)
		if err := e.Encode(r.Body); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s", r, body.String())
	}
	return b.String()
}

func TestRequestsSendWhatIsSetInAnOrderThatFirecrackerAccepts(t *testing.T) {
	t.Parallel()
	golden(t, "everything-requests.txt", requestsText(t, parse(t, string(read(t, "everything.json")))))
}

func TestRequestsOfAMinimalConfigAreOne(t *testing.T) {
	t.Parallel()
	got := requestsText(t, valid())
	if want := "PUT /boot-source {\"kernel_image_path\":\"vmlinux\"}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRequestsLeaveAnUnresolvedCPUConfigOut(t *testing.T) {
	t.Parallel()
	c := valid()
	c.CPUConfig = &vmconfig.CPUConfig{Path: "x.json"}
	if got := requestsText(t, c); strings.Contains(got, "cpu-config") {
		t.Errorf("got %s", got)
	}
	if err := c.CPUConfig.Resolve(read(t, "cpu-config.json")); err != nil {
		t.Fatal(err)
	}
	if got := requestsText(t, c); !strings.Contains(got, `PUT /cpu-config {"msr_modifiers":[{"addr":"0x10a","bitmap":"0b1"}]}`) {
		t.Errorf("got %s", got)
	}
}

func TestEmptyMetadataIsSentAndNoMetadataIsNot(t *testing.T) {
	t.Parallel()
	c := valid()
	c.Metadata = firecracker.Metadata{}
	if got := requestsText(t, c); !strings.HasSuffix(got, "PUT /mmds {}\n") {
		t.Errorf("got %s", got)
	}
}

func TestLogArgsAreTheLogger(t *testing.T) {
	t.Parallel()
	c := valid()
	if got := c.LogArgs(); got != nil {
		t.Errorf("got %q without a logger", got)
	}
	c.Logger = &firecracker.Logger{LogPath: "/l", Level: "Debug", Module: "vmm", ShowLevel: true, ShowLogOrigin: true}
	want := []string{"--log-path", "/l", "--level", "Debug", "--module", "vmm", "--show-level", "--show-log-origin"}
	if diff := cmp.Diff(want, c.LogArgs()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
