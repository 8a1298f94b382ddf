package smartvm

import (
	"log/slog"
	"time"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/netconfig"
)

// Options configure a [Manager]. The zero value is ready to use.
type Options struct {
	// DataDir keeps what outlives VMs: binaries, images, and staged drives that
	// do not fit or can't be shared where the runtime directory is. Default
	// /tmp/.smartvm.
	DataDir string
	// RuntimeDir has a directory per VM. Default /dev/shm/.smartvm/runtime when
	// /dev/shm is a usable tmpfs, else "runtime" below DataDir.
	RuntimeDir string
	// FirecrackerPath is the binary to use. Default: the one in PATH, else the
	// newest below DataDir, else one that is downloaded.
	FirecrackerPath string
	// FirecrackerVersion demands a release; the config of a VM may demand another
	// one. Default: whatever is found, and the newest release where nothing is.
	FirecrackerVersion firecracker.Version
	// Arch is the architecture of what is downloaded, x86_64 or aarch64. Default:
	// this machine's.
	Arch string
	// ReleaseURL is where Firecracker's releases are: the official page, a mirror
	// or a file tree of its layout. Default [image.DefaultReleaseURL].
	ReleaseURL string
	// BucketURL is where the presets of base images are: Firecracker's CI bucket, a
	// mirror or a file tree with its keys. Default [baseimage.DefaultBucketURL].
	BucketURL string
	// BaseImageDir is the cache of base images. Default "base-images" below DataDir.
	BaseImageDir string
	// BaseImageRetention is how many base images are kept. Default 2.
	BaseImageRetention int
	// BaseImageManifest is the URL or path of the manifest for the preset hosted.
	BaseImageManifest string
	// Offline keeps away from the network: what is not on this machine is an error.
	Offline bool
	// Progress is told about downloads. Default: nobody is.
	Progress Progress
	// Jail says how Firecracker is confined. Default: each VM is jailed where this
	// process is root.
	Jail JailOptions
	// CgroupParent is the control group below which those of VMs with limits are, as a
	// path from the mount point of the unified hierarchy. Default smartvm.
	CgroupParent string
	// PersistWritableDrives gives Firecracker the drives' own files, so that what
	// guests write stays. Default: a writable drive is copied for the VM and the
	// copy is gone with it. Drives can say otherwise one by one.
	PersistWritableDrives bool
	// Network is the network of the VMs that have an interface without a TAP of the
	// caller's. Users who can't make networks have the one of their pool. Default: the bridge svbr0 with 172.30.0.0/24, from which guests reach
	// what the host reaches, but neither the host nor each other.
	Network netconfig.Config
	// PoolDir is where root has described the pools of users, who can't make networks: see
	// package pool. Default /run/smartvm-pools.
	PoolDir string
	// PageServer is the command that serves the memory of VMs that are restored lazily: a
	// program with arguments that does what smartvm page-server does. Default: none, and
	// no lazy restores.
	PageServer []string
	// ReuseAddresses lets an address go to another VM once all others have been used.
	// Default: this manager gives no address twice, and IP_EXHAUSTED ends its VMs.
	ReuseAddresses bool
	// StartTimeout bounds the wait for Firecracker's API after the process has
	// been started. Default 30 s.
	StartTimeout time.Duration
	// ConsoleLimit bounds how much of each guest's serial output is kept, in
	// bytes. Default 1 MiB; the newest is kept.
	ConsoleLimit int64
	// Logger is told what no return value can tell, such as that a VM ended by
	// itself. Default: nothing is logged.
	Logger *slog.Logger
}

// Defaults of Options and StopOptions.
const (
	DefaultDataDir      = "/tmp/.smartvm"
	DefaultRuntimeDir   = "/dev/shm/.smartvm/runtime"
	DefaultStartTimeout = 30 * time.Second
	DefaultStopGrace    = 10 * time.Second
	DefaultTermGrace    = 2 * time.Second
)

// StopOptions say how patient Stop is. The zero value is ready to use.
type StopOptions struct {
	// Grace is how long the guest may take to shut down after Ctrl+Alt+Del.
	// Default 10 s; negative skips Ctrl+Alt+Del.
	Grace time.Duration
	// TermGrace is how long Firecracker may take to end after SIGTERM, before it
	// is killed. Default 2 s; negative skips SIGTERM.
	TermGrace time.Duration
}

func (o StopOptions) withDefaults() StopOptions {
	if o.Grace == 0 {
		o.Grace = DefaultStopGrace
	}
	if o.TermGrace == 0 {
		o.TermGrace = DefaultTermGrace
	}
	return o
}
