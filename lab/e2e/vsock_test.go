package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
)

func TestVsockConnectsHostAndGuest(t *testing.T) {
	claims(t, "S5.1", "The host connects to a program that listens in the guest through the vsock's socket, and bytes go both ways unchanged")
	claims(t, "S5.1", "A guest connects to a program that listens on the host beside the vsock's socket, and bytes go both ways unchanged")
	path := filepath.Join(shortDir(t), "vsock")
	s := newSite(t, smartvm.Options{})
	config := s.config(baseimage.Squashfs)
	config.Vsock = &firecracker.Vsock{GuestCID: 3, UDSPath: path}
	vm, g := s.boot(config)
	data := make([]byte, 300_000)
	_, _ = rand.Read(data)

	if conn, err := dialVsock(t, path, 5000); err == nil {
		t.Error("the host has a connection to a port that nobody listens on")
		must(t, conn.Close())
	}
	listener, err := g.Start(patient(t), "vsock listen 5000")
	must(t, err)
	must(t, listener.WaitOutput(patient(t), "listening"))
	for range 2 {
		conn, err := dialVsock(t, path, 5000)
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
	answers := answerVsock(t, path, 6000, data)
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

// dialVsock connects to a port of a guest, as Firecracker's documentation says
// (docs/vsock.md): a connection to its socket is passed on once it was asked to.
func dialVsock(t *testing.T, path string, port int) (net.Conn, error) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(patient(t), "unix", path)
	must(t, err)
	deadline, _ := patient(t).Deadline()
	must(t, conn.SetDeadline(deadline))
	_, err = fmt.Fprintf(conn, "CONNECT %d\n", port)
	must(t, err)
	// The guest sends nothing before it is sent something: no byte of it is lost here.
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "OK ") {
		err = fmt.Errorf("vsock answers %q", line)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// answerVsock answers the first connection of the guest to a port with the data, when
// it has read as much. It returns a channel with the hash of what it has read. An end
// of what the guest sends would not be seen: Firecracker passes no half-close on.
func answerVsock(t *testing.T, path string, port int, data []byte) <-chan string {
	t.Helper()
	l, err := net.Listen("unix", fmt.Sprintf("%s_%d", path, port))
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
