package e2e_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
)

func TestVsockConnectsHostAndGuest(t *testing.T) {
	claims(t, "S5.1", "DialVsock connects to a program that listens in the guest, and bytes go both ways unchanged")
	claims(t, "S5.1", "ListenVsock takes the connections of a guest, and bytes go both ways unchanged")
	s := newSite(t, smartvm.Options{})
	config := s.config(baseimage.Squashfs)
	config.Vsock = &firecracker.Vsock{GuestCID: 3, UDSPath: filepath.Join(shortDir(t), "vsock")}
	vm, g := s.boot(config)
	data := make([]byte, 300_000)
	_, _ = rand.Read(data)

	if conn, err := vm.DialVsock(patient(t), 5000); err == nil {
		t.Error("the host has a connection to a port that nobody listens on")
		must(t, conn.Close())
	}
	listener, err := g.Start(patient(t), "vsock listen 5000")
	must(t, err)
	must(t, listener.WaitOutput(patient(t), "listening"))
	for range 2 {
		conn, err := vm.DialVsock(patient(t), 5000)
		must(t, err)
		sent := make(chan error, 1)
		go func() {
			_, err := conn.Write(data)
			sent <- err
		}()
		echo := make([]byte, len(data))
		_, err = io.ReadFull(conn, echo)
		must(t, errors.Join(err, <-sent))
		if !bytes.Equal(echo, data) {
			t.Error("what the guest sends back is not what it was sent")
		}
		must(t, conn.Close())
	}
	must(t, listener.Kill(patient(t)))
	_, err = listener.Wait(patient(t))
	must(t, err)

	result, err := g.Run(patient(t), "echo hello | vsock connect 6000")
	must(t, err)
	if result.Code == 0 {
		t.Error("the guest has a connection to a port that nobody listens on")
	}
	answers := answerVsock(t, vm, 6000, data)
	out := output(t, g, "head -c 300000 /dev/urandom >/tmp/data; sha256sum </tmp/data | cut -c -64; vsock connect 6000 </tmp/data | sha256sum | cut -c -64")
	if want := <-answers + "\n" + hash(data); out != want {
		t.Errorf("the guest has sent and received\n%s\nwant\n%s", out, want)
	}
	shutDown(t, vm)
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// answerVsock answers the first connection of the guest to a port with the data, when
// it has read as much. It returns a channel with the hash of what it has read. An end
// of what the guest sends would not be seen: Firecracker passes no half-close on.
func answerVsock(t *testing.T, vm *smartvm.VM, port uint32, data []byte) <-chan string {
	t.Helper()
	l, err := vm.ListenVsock(port)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	received := make(chan string, 1)
	go func() {
		defer close(received)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		all := make([]byte, len(data))
		if _, err = io.ReadFull(conn, all); err == nil {
			_, err = conn.Write(data)
		}
		if err == nil {
			received <- hash(all)
		}
	}()
	return received
}
