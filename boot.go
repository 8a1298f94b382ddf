package smartvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/vmconfig"
)

// A VM boots from a config file, which Firecracker reads before it serves its
// API: a request costs it two changes of threads, and a start of a few
// milliseconds feels each. What a file can't say is sent as requests instead.

// Names of the files that Firecracker reads at its start.
const (
	configName   = "config.json"
	templateName = "cpu-config.json"
	metadataName = "metadata.json"
)

// fileHolds reports whether all of the config can be said in Firecracker's file.
func (p *plan) fileHolds() bool { return p.config.Serial == nil }

// writeConfig writes the config file and what it refers to, and returns the
// arguments that make Firecracker read them.
func (l *launch) writeConfig() (args []string, err error) {
	config := *l.plan.config
	if config.Metadata != nil {
		path, err := l.writeInput(roleMetadata, metadataName, config.Metadata)
		if err != nil {
			return nil, err
		}
		args = append(args, "--metadata", path)
	}
	if config.CPUConfig != nil && l.binary.Version.Compare(inlineTemplate) < 0 {
		path, err := l.writeInput(roleTemplate, templateName, config.CPUConfig.CPUConfig)
		if err != nil {
			return nil, err
		}
		config.CPUConfig = &vmconfig.CPUConfig{Path: path}
	}
	// What is smartvm's own is not for Firecracker; its log is on the command line.
	config.Metadata, config.Logger, config.FirecrackerVersion = nil, nil, firecracker.Version{}
	config.Network, config.Jail, config.Limits = nil, nil, nil
	config.Drives = slices.Clone(config.Drives)
	for i := range config.Drives {
		config.Drives[i].Ephemeral = nil
	}
	path, err := l.writeInput(roleConfig, configName, config)
	if err != nil {
		return nil, err
	}
	return append(args, "--config-file", path), nil
}

// writeInput writes a file that Firecracker reads, and returns the path that it is
// to be given.
func (l *launch) writeInput(role, name string, value any) (inside string, err error) {
	path := filepath.Join(l.vm.Dir(), name)
	if err := writeFirst(path, value); err != nil {
		return "", err
	}
	return l.plan.files.Add(role, path, jail.Read|jail.Ours)
}

// inlineTemplate is the release since which a CPU template is part of the config
// file; before, the file names another one.
var inlineTemplate = firecracker.Version{Major: 1, Minor: 13}

// boot makes the guest run, or waits until it does.
func (l *launch) boot(ctx context.Context) error {
	if l.restore != nil {
		if err := l.load(ctx); err != nil {
			return err
		}
		return l.booted()
	}
	if err := l.describe(ctx); err != nil {
		return err
	}
	switch {
	case l.op == opLaunch:
		return nil
	case l.plan.fromFile:
		if err := l.awaitGuest(ctx); err != nil {
			return err
		}
	default:
		if err := l.client.Pipeline(ctx, l.plan.config.Requests()); err != nil {
			return err
		}
		fault.Point("start: configured")
		// On its own: Firecracker goes on with a pipeline after a refusal, and a
		// guest must not run without the device that was refused.
		if err := l.client.StartInstance(ctx); err != nil {
			return err
		}
	}
	return l.booted()
}

func (l *launch) booted() error {
	fault.Point("start: booted")
	return l.ledger.Mark(markStarted)
}

// awaitGuest waits until Firecracker lets its guest run.
func (l *launch) awaitGuest(ctx context.Context) error {
	err := l.until(ctx, l.vm.gone, l.speaks(), l.guestRuns)
	switch {
	case errors.Is(err, errTooLong):
		return l.noGuest()
	case errors.Is(err, errGoneEarly) && l.guestRan():
		return nil
	}
	return err
}

// speaks returns a channel that is closed when there is something on the console: it
// is the guest, which so runs, or Firecracker's last words.
func (l *launch) speaks() <-chan struct{} {
	l.vm.mu.Lock()
	defer l.vm.mu.Unlock()
	if l.vm.keeper == nil {
		return nil
	}
	return l.vm.keeper.Changed()
}

// guestRuns looks whether Firecracker has made its guest. The vCPUs' threads come
// after everything that can fail; then Firecracker puts its main thread under a
// seccomp filter, as the last step before it lets the vCPUs run (builder.rs of
// v1.0 to v1.17) or the first one after that (api_server_adapter.rs since).
//
// Asking the API would tell the same at the same time. But a request that is in
// flight when a guest ends leaves Firecracker in a deadlock, and the answers cost a
// host that starts many VMs a tenth of its rate (decision 3).
func (l *launch) guestRuns() (bool, error) {
	if n, err := l.process.CountThreads(); n < l.plan.threads() {
		return false, errors.Join(err, l.sealEarly())
	}
	return l.process.Confined()
}

// guestRan reports whether a guest has ended by itself, before we saw it run:
// Firecracker ends with 0 only then. What never had a socket was no Firecracker.
func (l *launch) guestRan() bool {
	ended := l.vm.Ended()
	_, err := os.Stat(l.vm.SocketPath())
	return err == nil && ended != nil && ended.Status.Success()
}

func (l *launch) noGuest() error {
	socket := l.vm.SocketPath()
	if _, err := os.Stat(socket); err != nil {
		return l.noSocket(socket, err)
	}
	return &Error{
		Code: errcode.APITimeout, Op: "wait for guest", Subject: string(l.vm.id),
		Err: fmt.Errorf("firecracker did not let it run within %s", l.vm.manager.opts.StartTimeout), Hint: hintTooLong,
	}
}

// explain looks for the cause behind a failed start. Firecracker ends with a
// line in its log when it refuses its config file; asked again, request by
// request, another one says which it is.
func (l *launch) explain(ctx context.Context, cause error) error {
	// A socket that hung up is the first that is seen of a process that has ended.
	hungUp := errors.Is(cause, errcode.SocketRequestFailed) || errors.Is(cause, errGoneEarly)
	if ctx.Err() != nil || !hungUp {
		return cause
	}
	ended := l.vm.endedSoon()
	if ended == nil {
		return cause
	}
	if kvm := checkKVM(); kvm != nil {
		l.vm.manager.kvmSeen.Store(false)
		return kvm
	}
	if l.plan.fromFile && ended.Status.Code == refusedConfig {
		if refusal := l.askAgain(ctx); refusal != nil {
			return refusal
		}
	}
	return l.vm.exited()
}

// refusedConfig is Firecracker's exit code when it can't make a VM of its file.
const refusedConfig = 1
