package smartvm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
)

func TestJailerThatOthersCouldReplaceIsNotRun(t *testing.T) {
	for name, spoil := range map[string]func(jailer string) error{
		"of another user":      func(jailer string) error { return os.Chown(jailer, nobody, nobody) },
		"world-writable":       func(jailer string) error { return os.Chmod(jailer, 0o777) },
		"another's directory":  func(jailer string) error { return os.Chown(filepath.Dir(jailer), nobody, nobody) },
		"writable directory":   func(jailer string) error { return os.Chmod(filepath.Dir(jailer), 0o777) },
		"link to another's":    func(jailer string) error { return swapForLink(jailer, nobody) },
		"of another release":   func(jailer string) error { return os.WriteFile(jailer, []byte("#!/bin/sh\n"), 0o600) },
		"something else by it": func(jailer string) error { return copyTo("/bin/true", jailer) },
	} {
		t.Run(name, func(t *testing.T) {
			s := hostileSite(t, smartvm.Options{})
			jailer := filepath.Join(filepath.Dir(s.opts.FirecrackerPath), "jailer")
			must(t, spoil(jailer))
			vm := s.create("captive", s.config())
			wantCode(t, vm.Start(patient(t)), "BINARY_UNUSABLE")
			must(t, vm.Cleanup(patient(t)))
			must(t, errors.Join(os.Chown(filepath.Dir(jailer), 0, 0), os.Chmod(filepath.Dir(jailer), 0o700)))
		})
	}
}

// swapForLink puts the file elsewhere, as another user's, and a link in its place.
func swapForLink(path string, uid int) error {
	there := path + "-there"
	return errors.Join(os.Rename(path, there), os.Chown(there, uid, uid), os.Symlink(there, path))
}

func copyTo(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o700)
}

func TestLeasesOfUsersAreKeptWhereNobodyElseWrites(t *testing.T) {
	for name, plant := range map[string]func(dir string) error{
		"another's directory": func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, nobody, nobody)) },
		"writable directory":  func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)) },
		"another's link": func(dir string) error {
			return errors.Join(os.Mkdir(dir+"-there", 0o700), os.Symlink(dir+"-there", dir), os.Lchown(dir, nobody, nobody))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := hostileSite(t, smartvm.Options{})
			dir := usersIn(s.data)
			must(t, os.Remove(dir))
			must(t, plant(dir))
			vm := s.create("captive", s.config())
			wantCode(t, vm.Start(patient(t)), "INSECURE_PATH")
			must(t, vm.Cleanup(patient(t)))
			must(t, errors.Join(os.RemoveAll(dir), os.RemoveAll(dir+"-there"), os.Mkdir(dir, 0o700)))
		})
	}
}

// Other users can look into /proc, and into whatever their permissions let them.
func TestOtherUsersLearnNoSecretsOfAVM(t *testing.T) {
	const secret = "swordfish"
	s := hostileSite(t, smartvm.Options{})
	config := s.config("password=" + secret)
	config.Metadata = firecracker.Metadata{"password": secret}
	in := capture(t, s.create("captive", config))
	pid := s.pid(in.VM)
	for _, name := range []string{"cmdline", "environ", "comm", "status"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		must(t, err)
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s: %q", name, text)
		}
	}
	text, err := os.ReadFile(filepath.Join(in.Dir(), "config.json"))
	if err != nil || !bytes.Contains(text, []byte(secret)) {
		t.Errorf("the secret is nowhere to be found: %q, %v", text, err)
	}
	private := map[string]bool{}
	must(t, filepath.WalkDir(s.runtime, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		// What is below a directory that others can't enter is closed by that.
		if private[filepath.Dir(path)] {
			private[path] = true
		}
		if err == nil && info.Mode()&0o077 == 0 {
			private[path] = true
		}
		if !private[path] {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	}))
	asNobody(t, func() {
		if _, err := os.ReadFile(filepath.Join(in.Dir(), "config.json")); !errors.Is(err, unix.EACCES) {
			t.Errorf("another user reads the config: %v", err)
		}
		if _, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", pid)); !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
			t.Errorf("another user looks into the jail: %v", err)
		}
	})
	must(t, in.Cleanup(patient(t)))
	if strings.Contains(fmt.Sprint(in.Ended()), secret) {
		t.Error("the end tells it")
	}
}
