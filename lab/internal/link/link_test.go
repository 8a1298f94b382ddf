package link_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/lab/internal/link"
)

func TestFramesArriveInOrderAsTheyWereSent(t *testing.T) {
	t.Parallel()
	var wire bytes.Buffer
	c := link.New(&wire)
	big := bytes.Repeat([]byte("x"), link.MaxPayload+1)
	if n, err := c.Writer(link.Stdout).Write(big); n != len(big) || err != nil {
		t.Fatalf("wrote %d bytes, %v", n, err)
	}
	if err := c.SendJSON(link.Exit, link.Ended{Code: 7}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{link.MaxPayload, 1} {
		kind, payload, err := c.Receive()
		if kind != link.Stdout || len(payload) != want || err != nil {
			t.Errorf("frame %d: kind %d, %d bytes, %v; want %d of output", i, kind, len(payload), err, want)
		}
	}
	var ended link.Ended
	if err := c.Expect(link.Exit, &ended); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(link.Ended{Code: 7}, ended); diff != "" {
		t.Error(diff)
	}
	if _, _, err := c.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v, want EOF", err)
	}
}

func TestRefusalOfTheMachineBecomesAnError(t *testing.T) {
	t.Parallel()
	var wire bytes.Buffer
	c := link.New(&wire)
	for _, send := range []func() error{
		func() error { return c.Send(link.Failed, []byte("no such share")) },
		func() error { return c.Send(link.Hello, nil) },
	} {
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Expect(link.Ready, nil); err == nil || err.Error() != "no such share" {
		t.Errorf("got %v, want the machine's words", err)
	}
	if err := c.Expect(link.Ready, nil); err == nil {
		t.Error("a frame of another kind was taken")
	}
}

func TestWhatIsNoFrameIsRefused(t *testing.T) {
	t.Parallel()
	for name, wire := range map[string]string{
		"no such kind":  "\x00\x00\x00\x00\x00",
		"a later kind":  "\x63\x00\x00\x00\x00",
		"too large":     "\x06\x7f\xff\xff\xff",
		"a cut head":    "\x06\x00",
		"a cut payload": "\x06\x00\x00\x00\x05abc",
	} {
		if _, _, err := link.New(bytes.NewBufferString(wire)).Receive(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := link.New(new(bytes.Buffer)).Send(link.Stdin, make([]byte, link.MaxPayload+1)); err == nil {
		t.Error("a frame that nobody would take was sent")
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("\x06\x00\x00\x00\x03abc"))
	f.Add([]byte("\x01\x00\x00\x00\x00\x02"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		c := link.New(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(wire), io.Discard})
		for {
			_, payload, err := c.Receive()
			if err != nil {
				return
			}
			if len(payload) > len(wire) {
				t.Fatalf("%d bytes out of %d", len(payload), len(wire))
			}
		}
	})
}

func TestLabAndMachineAgreeAboutSettings(t *testing.T) {
	t.Parallel()
	var wire bytes.Buffer
	c := link.New(&wire)
	want := link.Settings{
		Shares: []link.Share{{Tag: "a", Path: "/a", Writable: true}}, Release: "6.1", Modules: "/m", Programs: "/b", Load: []link.Module{{Path: "x.ko", Parameters: "y=1"}},
	}
	if err := c.SendJSON(link.Setup, want); err != nil {
		t.Fatal(err)
	}
	var got link.Settings
	if err := c.Expect(link.Setup, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := c.SendJSON(link.Setup, strings.Repeat("x", link.MaxPayload)); err == nil {
		t.Error("settings that nobody would take were sent")
	}
}
