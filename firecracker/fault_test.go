package firecracker_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/firecracker/firecrackertest"
)

// dials counts the connections of a client.
type dials struct {
	sync.Mutex
	n int
}

func (d *dials) dial(ctx context.Context, socket string) (net.Conn, error) {
	d.Lock()
	d.n++
	d.Unlock()
	return new(net.Dialer).DialContext(ctx, "unix", socket)
}

func TestTimeoutPoisonsTheConnectionAndTheNextCallRedials(t *testing.T) {
	_, socket := startFake(t, firecrackertest.Options{Hang: []string{"PATCH /vm"}})
	var d dials
	c := newClient(t, socket, firecracker.ClientOptions{Timeout: 50 * time.Millisecond, Dial: d.dial})
	if err := c.StartInstance(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := c.Pause(t.Context())
	if !errors.Is(err, errcode.APITimeout) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Info(t.Context()); err != nil {
		t.Error(err)
	}
	if d.n != 2 {
		t.Errorf("%d connections, want 2", d.n)
	}
}

func TestContextEndsACallUnderWay(t *testing.T) {
	server, socket := startFake(t, firecrackertest.Options{Hang: []string{"PUT /mmds"}})
	c := newClient(t, socket, firecracker.ClientOptions{Timeout: -1})
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	go func() {
		waitFor(t, func() bool { return len(server.Calls()) > 0 })
		cancel(reason)
	}()
	err := c.PutMMDS(ctx, nil)
	if !errors.Is(err, errcode.SocketRequestFailed) || !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
		t.Errorf("cancelled: %v", err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if err := c.PutMMDS(ctx, nil); !errors.Is(err, errcode.APITimeout) {
		t.Errorf("timed out: %v", err)
	}
}

func TestWaitForAnotherCallIsBoundedToo(t *testing.T) {
	server, socket := startFake(t, firecrackertest.Options{Hang: []string{"PUT /snapshot/load"}})
	c := newClient(t, socket, firecracker.ClientOptions{Timeout: 20 * time.Millisecond, Version: version(t, "1.12.1")})
	var load error
	var wait sync.WaitGroup
	wait.Go(func() {
		// Loading has no time-out of its own, so only Close ends it.
		load = c.LoadSnapshot(t.Context(), firecracker.SnapshotLoadParams{SnapshotPath: "s", MemFilePath: "m"})
	})
	waitFor(t, func() bool { return len(server.Calls()) > 0 })
	if _, err := c.Info(t.Context()); !errors.Is(err, errcode.APITimeout) {
		t.Errorf("got %v", err)
	}
	_ = c.Close()
	wait.Wait()
	if !errors.Is(load, net.ErrClosed) {
		t.Errorf("load: %v", load)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	if _, err := c.Info(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestIdleConnectionThatWasClosedIsRedialledUnseen(t *testing.T) {
	server, socket := startFake(t, firecrackertest.Options{})
	var d dials
	c := newClient(t, socket, firecracker.ClientOptions{Dial: d.dial})
	for range 3 {
		if err := c.PutMMDS(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		server.HangUp()
	}
	if want := []string{"PUT /mmds", "PUT /mmds", "PUT /mmds"}; !cmp.Equal(want, server.Calls()) || d.n != 3 {
		t.Errorf("%d connections, calls %v", d.n, server.Calls())
	}
}

func TestCallThatMayHaveBeenSeenIsNotRepeated(t *testing.T) {
	server, socket := startFake(t, firecrackertest.Options{Hang: []string{"PUT /mmds"}})
	c := newClient(t, socket, firecracker.ClientOptions{})
	if _, err := c.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() {
		waitFor(t, func() bool { return len(server.Calls()) > 1 })
		server.HangUp()
	}()
	if err := c.PutMMDS(t.Context(), nil); !errors.Is(err, errcode.SocketRequestFailed) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"GET /", "PUT /mmds"}, server.Calls()); diff != "" {
		t.Error(diff)
	}
}

func TestNothingIsSentOfWhatIsRefusedHere(t *testing.T) {
	server, socket := startFake(t, firecrackertest.Options{})
	c := newClient(t, socket, firecracker.ClientOptions{})
	tests := []struct {
		name string
		err  error
		want errcode.Code
	}{
		{"newer call", c.PutSerial(t.Context(), firecracker.Serial{}), errcode.UnsupportedVersion},
		{"newer field", c.LoadSnapshot(t.Context(), firecracker.SnapshotLoadParams{TrackDirtyPages: true}), errcode.UnsupportedVersion},
		{"newer field in a batch", c.Pipeline(t.Context(), []firecracker.Request{
			firecracker.PutMMDS(nil),
			firecracker.PutNetworkInterface(firecracker.NetworkInterface{IfaceID: "a", MTU: 1500}),
		}), errcode.UnsupportedVersion},
		{"start in a batch", c.Pipeline(t.Context(), []firecracker.Request{firecracker.PutMMDS(nil), firecracker.StartInstance()}), errcode.InvalidConfig},
		{"line break in an id", c.PutDrive(t.Context(), firecracker.Drive{DriveID: "a\r\nX: y"}), errcode.InvalidConfig},
		{"endless id", c.PutDrive(t.Context(), firecracker.Drive{DriveID: strings.Repeat("a", 1100)}), errcode.InvalidConfig},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
	if diff := cmp.Diff([]string{"GET /version"}, server.Calls()); diff != "" {
		t.Error("only the version was to be asked for, once:", diff)
	}
}

func TestRefusalIsAnAPIErrorWithTheFault(t *testing.T) {
	_, socket := startFake(t, firecrackertest.Options{Refuse: map[string]string{"PUT /network-interfaces/eth0": "TAP is busy"}})
	c := newClient(t, socket, firecracker.ClientOptions{})
	err := c.PutNetworkInterface(t.Context(), firecracker.NetworkInterface{IfaceID: "eth0", HostDevName: "tap0"})
	want := "call firecracker PUT /network-interfaces/eth0: TAP is busy (the TAP must exist and be free)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestNobodyThereIsSaid(t *testing.T) {
	c := newClient(t, shortDir(t)+"/s", firecracker.ClientOptions{})
	err := c.Connect(t.Context())
	if !errors.Is(err, errcode.SocketRequestFailed) || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "nothing listens") {
		t.Errorf("got %v", err)
	}
}

func TestLongSocketPathIsNamed(t *testing.T) {
	dir := "/run/" + strings.Repeat("d", 100)
	c := newClient(t, dir+"/firecracker.sock", firecracker.ClientOptions{})
	if err := c.Connect(t.Context()); !errors.Is(err, errcode.PathTooLong) || !strings.Contains(err.Error(), "shorter directory than "+dir) {
		t.Errorf("got %v", err)
	}
}

func TestCallsFromSeveralGoroutinesShareOneConnection(t *testing.T) {
	_, socket := startFake(t, firecrackertest.Options{})
	var d dials
	c := newClient(t, socket, firecracker.ClientOptions{Dial: d.dial})
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if _, err := c.Info(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if d.n != 1 {
		t.Errorf("%d connections", d.n)
	}
}

func waitFor(t *testing.T, happened func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			return
		}
	}
}

func BenchmarkDo(b *testing.B) {
	_, socket := startFake(b, firecrackertest.Options{})
	c := newClient(b, socket, firecracker.ClientOptions{Version: version(b, "1.12.1")})
	r := firecracker.PutMMDS(firecracker.Metadata{"a": "b"})
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Do(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

func TestPipelineNamesAllThatIsMissing(t *testing.T) {
	server, socket := startFake(t, firecrackertest.Options{})
	c := newClient(t, socket, firecracker.ClientOptions{Version: version(t, "1.12.1")})
	err := c.Pipeline(t.Context(), []firecracker.Request{
		firecracker.PutMMDS(nil),
		firecracker.PutNetworkInterface(firecracker.NetworkInterface{IfaceID: "a", MTU: 1500}),
		firecracker.PutSerial(firecracker.Serial{}),
	})
	e, ok := errors.AsType[*errcode.Error](err)
	want := []errcode.Detail{
		{Field: "mtu", Message: "needs v1.16.0 or newer"},
		{Field: "PUT /serial", Message: "needs v1.14.0 or newer"},
	}
	if !ok || e.Subject != "PUT /network-interfaces/a" || !cmp.Equal(want, e.Details) {
		t.Errorf("got %v", err)
	}
	if calls := server.Calls(); len(calls) != 0 {
		t.Error("sent: ", calls)
	}
}

func TestCancelWhileFirecrackerIsFullMatchesTheContext(t *testing.T) {
	_, socket := startFake(t, firecrackertest.Options{})
	for range 10 {
		raw(t, socket, "")
	}
	c := newClient(t, socket, firecracker.ClientOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := c.Info(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errcode.APITimeout) {
		t.Errorf("got %v", err)
	}
}
