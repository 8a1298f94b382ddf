package firecracker_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// raw opens a connection that knows nothing of HTTP.
func raw(tb testing.TB, socket, send string) net.Conn {
	tb.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, send); err != nil {
		tb.Fatal(err)
	}
	return conn
}

func TestBothTellWhoTheyAre(t *testing.T) {
	onBoth(t, func(t host) {
		c := newClient(t, t.socket, firecracker.ClientOptions{})
		info, err := c.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		version, err := c.Version(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := firecracker.InstanceInfo{
			ID: "test", State: firecracker.NotStarted, AppName: "Firecracker",
			VMMVersion: strings.TrimPrefix(version.String(), "v"),
		}
		if diff := cmp.Diff(want, info); diff != "" {
			t.Error(diff)
		}
	})
}

func TestBothRefuseWithAFault(t *testing.T) {
	onBoth(t, func(t host) {
		c := newClient(t, t.socket, firecracker.ClientOptions{})
		answer, err := c.Get(t.Context(), "/balloon")
		if err != nil {
			t.Fatal("a refusal is not an error at this level: ", err)
		}
		if answer.OK || answer.StatusCode != http.StatusBadRequest || answer.Fault == "" || !json.Valid(answer.Body) {
			t.Errorf("got %+v", answer)
		}
		_, err = c.Balloon(t.Context())
		e, ok := errors.AsType[*errcode.Error](err)
		if !ok || e.Code != errcode.APIError || e.StatusCode != http.StatusBadRequest || !strings.Contains(err.Error(), answer.Fault) {
			t.Errorf("got %v", err)
		}
	})
}

func TestBothHaveAccessFaults(t *testing.T) {
	tests := []struct {
		name string
		call func(ctx context.Context, c *firecracker.Client) (*firecracker.Response, error)
	}{
		{"no such path", func(ctx context.Context, c *firecracker.Client) (*firecracker.Response, error) {
			return c.Put(ctx, "/nothing", struct{}{})
		}},
		{"no body", func(ctx context.Context, c *firecracker.Client) (*firecracker.Response, error) {
			return c.Put(ctx, "/machine-config", nil)
		}},
		{"wrong method", func(ctx context.Context, c *firecracker.Client) (*firecracker.Response, error) {
			return c.Patch(ctx, "/boot-source", struct{}{})
		}},
		{"not yet", func(ctx context.Context, c *firecracker.Client) (*firecracker.Response, error) {
			return c.Patch(ctx, "/vm", firecracker.VMState{State: firecracker.StatePaused})
		}},
	}
	onBoth(t, func(t host) {
		c := newClient(t, t.socket, firecracker.ClientOptions{})
		for _, tt := range tests {
			answer, err := tt.call(t.Context(), c)
			if err != nil || answer.StatusCode != http.StatusBadRequest || answer.Fault == "" {
				t.Errorf("%s: got %+v, %v", tt.name, answer, err)
			}
		}
	})
}

func TestWrongPhaseIsHintedAt(t *testing.T) {
	onBoth(t, func(t host) {
		c := newClient(t, t.socket, firecracker.ClientOptions{})
		e, ok := errors.AsType[*errcode.Error](c.Pause(t.Context()))
		if want := "the call is allowed only after the boot, the VM is Not started"; !ok || e.Hint != want {
			t.Errorf("got %v, want the hint %q", e, want)
		}
	})
}

func TestBothAcceptTenConnections(t *testing.T) {
	onBoth(t, func(t host) {
		const ping = "GET / HTTP/1.1\r\n\r\n"
		var first net.Conn
		for i := range 10 {
			conn := raw(t, t.socket, ping)
			if _, err := conn.Read(make([]byte, 4096)); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = conn
			}
		}
		c := newClient(t, t.socket, firecracker.ClientOptions{})
		_, err := c.Info(t.Context())
		e, ok := errors.AsType[*errcode.Error](err)
		if !ok || e.Code != errcode.APIError || e.StatusCode != http.StatusServiceUnavailable || e.Hint == "" {
			t.Fatalf("got %v", err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Info(t.Context()); err != nil {
			t.Error("with a place free again: ", err)
		}
	})
}

// An oversized body must not be sent; sent all the same, it poisons the
// connection, and the client has to notice.
func TestOversizedBodyPoisonsOnlyItsConnection(t *testing.T) {
	onBoth(t, func(t host) {
		big := firecracker.Metadata{"k": strings.Repeat("x", 60000)}
		c := newClient(t, t.socket, firecracker.ClientOptions{})
		err := c.PutMMDS(t.Context(), big)
		if !errors.Is(err, errcode.InvalidConfig) || !strings.Contains(err.Error(), "51200") {
			t.Fatalf("got %v, want a refusal that names the limit", err)
		}
		careless := newClient(t, t.socket, firecracker.ClientOptions{BodyLimit: 1 << 20})
		answer, err := careless.Put(t.Context(), "/mmds", big)
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != http.StatusBadRequest || !json.Valid(answer.Body) || !strings.Contains(answer.Fault, "dropped") {
			t.Errorf("got %+v", answer)
		}
		for range 3 {
			if _, err := careless.Info(t.Context()); err != nil {
				t.Error("after a poisoned connection: ", err)
			}
		}
	})
}

func TestBodyOfExactlyTheLimitIsAccepted(t *testing.T) {
	onBoth(t, func(t host) {
		c := newClient(t, t.socket, firecracker.ClientOptions{})
		frame := len(`{"k":""}`)
		m := firecracker.Metadata{"k": strings.Repeat("x", firecracker.DefaultBodyLimit-frame)}
		if err := c.PutMMDS(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		got, err := c.MMDS(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Error("the metadata came back changed")
		}
	})
}

func TestDeprecationIsReported(t *testing.T) {
	onBoth(t, func(t host) {
		c := newClient(t, t.socket, firecracker.ClientOptions{})
		calls := map[string]struct {
			path string
			body any
			want bool
		}{
			"cpu_template": {"/machine-config", firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 128, CPUTemplate: "None"}, true},
			"vsock_id":     {"/vsock", firecracker.Vsock{GuestCID: 3, UDSPath: t.socket + ".v", VsockID: "old"}, true},
			"neither":      {"/machine-config", firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 128}, false},
		}
		for name, call := range calls {
			answer, err := c.Put(t.Context(), call.path, call.body)
			if err != nil {
				t.Fatal(err)
			}
			if !answer.OK || answer.Deprecated != call.want {
				t.Errorf("%s: got %+v", name, answer)
			}
		}
	})
}

func TestPipelineGoesOnAfterARefusalAndNamesIt(t *testing.T) {
	onBoth(t, func(t host) {
		c := newClient(t, t.socket, firecracker.ClientOptions{})
		err := c.Pipeline(t.Context(), []firecracker.Request{
			firecracker.PutMachineConfig(firecracker.MachineConfig{VCPUCount: 2, MemSizeMiB: 256}),
			firecracker.Pause(),
			firecracker.PutMMDS(firecracker.Metadata{"a": "b"}),
			firecracker.FlushMetrics(),
		})
		e, ok := errors.AsType[*errcode.Error](err)
		if !ok || e.Code != errcode.APIError || e.Subject != "PATCH /vm" {
			t.Fatalf("got %v", err)
		}
		if len(e.Details) != 1 || e.Details[0].Field != "PUT /actions" {
			t.Errorf("details: %v", e.Details)
		}
		m, err := c.MachineConfig(t.Context())
		if err != nil || m.VCPUCount != 2 || m.MemSizeMiB != 256 {
			t.Errorf("machine config is %+v, %v", m, err)
		}
		if got, err := c.MMDS(t.Context()); err != nil || got["a"] != "b" {
			t.Errorf("the call after the refused one: %v, %v", got, err)
		}
	})
}

func TestPipelineOfLargeBodiesIsAnsweredWhole(t *testing.T) {
	onBoth(t, func(t host) {
		c := newClient(t, t.socket, firecracker.ClientOptions{})
		var batch []firecracker.Request
		for range 20 {
			batch = append(batch, firecracker.PutMMDS(firecracker.Metadata{"k": strings.Repeat("x", 40000)}))
		}
		if err := c.Pipeline(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	})
}
