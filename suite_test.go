package smartvm_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/hosttest"
)

// onBoth runs a claim on the fake and on the real Firecracker, without a jail and in
// one, so that they can't drift apart.
func onBoth(t *testing.T, claim func(s *site)) {
	t.Helper()
	t.Run("fake", func(t *testing.T) { claim(fakeSite(t, fake{})) })
	t.Run("real", func(t *testing.T) { claim(bootSiteWith(t, smartvm.Options{Jail: smartvm.JailOptions{Off: true}})) })
	t.Run("jailed", func(t *testing.T) {
		hosttest.Need(t, hosttest.Root)
		claim(bootSite(t))
	})
}

func TestVMGoesFromStartToStop(t *testing.T) {
	onBoth(t, func(s *site) {
		t := s.t
		vm := s.create("", s.config(hello.Stay))
		wantState(t, vm, smartvm.Created)
		must(t, vm.Start(patient(t)))
		wantState(t, vm, smartvm.Running)
		follow(t, vm, smartvm.ConsoleOptions{}).find("Hello from a")
		must(t, vm.Pause(patient(t)))
		wantState(t, vm, smartvm.Paused)
		must(t, vm.Resume(patient(t)))
		wantState(t, vm, smartvm.Running)
		must(t, vm.Stop(patient(t), smartvm.StopOptions{}))
		wantState(t, vm, smartvm.Stopped)
		if end := ended(t, vm); !end.Asked || !end.Status.Success() {
			t.Errorf("ended %+v, want that it did what it was asked to", end)
		}
		must(t, vm.Cleanup(patient(t)))
	})
}

func TestInfoIsThatOfTheInstance(t *testing.T) {
	onBoth(t, func(s *site) {
		t := s.t
		vm := s.boot(hello.Stay)
		info, err := vm.Info(patient(t))
		must(t, err)
		want := firecracker.InstanceInfo{ID: vm.ID(), State: firecracker.Running, VMMVersion: strings.TrimPrefix(s.version().String(), "v"), AppName: "Firecracker"}
		if diff := cmp.Diff(want, info); diff != "" {
			t.Error(diff)
		}
		if v, err := vm.Version(patient(t)); err != nil || v != s.version() {
			t.Errorf("version %s, %v", v, err)
		}
	})
}

func TestMetadataComesBackAsItWasSet(t *testing.T) {
	onBoth(t, func(s *site) {
		t := s.t
		vm := s.boot(hello.Stay)
		want := firecracker.Metadata{"a": map[string]any{"b": "c"}}
		if s.needsMMDS(vm) {
			return
		}
		must(t, vm.SetMetadata(patient(t), want))
		got, err := vm.GetMetadata(patient(t))
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// needsMMDS reports whether a VM has no place for metadata unless an interface has the
// metadata service, as since v1.15; if so, the refusal has to say that.
func (s *site) needsMMDS(vm *smartvm.VM) bool {
	s.t.Helper()
	if s.version().Compare(firecracker.Version{Major: 1, Minor: 15}) < 0 {
		return false
	}
	err := vm.SetMetadata(patient(s.t), firecracker.Metadata{"a": "b"})
	if wantCode(s.t, err, smartvm.APIError); !strings.Contains(hintOf(err), "mmds-config") {
		s.t.Errorf("got %v, hint %q", err, hintOf(err))
	}
	return true
}

func TestRefusalHasStatusAndWords(t *testing.T) {
	onBoth(t, func(s *site) {
		t := s.t
		vm := s.boot(hello.Stay)
		client, err := vm.Client()
		must(t, err)
		must(t, client.Pause(patient(t)))
		err = client.Do(patient(t), firecracker.StartInstance())
		e := wantCode(t, err, smartvm.APIError)
		if e.StatusCode != http.StatusBadRequest || !strings.Contains(err.Error(), "is not supported after starting the microVM") || e.Hint == "" {
			t.Errorf("got %d, hint %q: %v", e.StatusCode, e.Hint, err)
		}
	})
}

func TestKillIsNoticed(t *testing.T) {
	onBoth(t, func(s *site) {
		t := s.t
		vm := s.boot(hello.Stay)
		must(t, unix.Kill(s.pid(vm), unix.SIGKILL))
		if end := ended(t, vm); end.Asked || end.Status.Signal != int(unix.SIGKILL) {
			t.Errorf("ended %+v, want SIGKILL by somebody else", end)
		}
		wantState(t, vm, smartvm.Failed)
		if err := vm.Pause(patient(t)); !errors.Is(err, smartvm.InvalidState) {
			t.Errorf("pause = %v, want INVALID_STATE", err)
		}
	})
}

func TestStateThatAnotherProcessChangedIsSeenBeforeActing(t *testing.T) {
	onBoth(t, func(s *site) {
		t := s.t
		vm := s.boot(hello.Stay)
		other := firecracker.NewClient(vm.SocketPath(), firecracker.ClientOptions{})
		defer other.Close()
		must(t, other.Pause(patient(t)))
		must(t, vm.Resume(patient(t)))
		wantState(t, vm, smartvm.Running)
	})
}
