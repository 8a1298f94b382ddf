package baseimage

import (
	"context"
	"errors"
	"time"

	"github.com/smartvm/smartvm/firecracker"
)

// object is a file of the bucket, as its listing has it.
type object struct {
	Key          string // such as firecracker-ci/v1.15/x86_64/vmlinux-6.1.155
	URL          string // absolute
	ETag         string // with its quotes, "" in a file tree
	Size         int64  // bytes
	LastModified time.Time
}

// resolved is the kernel and root file system for a Firecracker release.
type resolved struct {
	FirecrackerVersion firecracker.Version
	Arch               string
	Prefix             string // such as firecracker-ci/v1.15/x86_64/
	Kernel, Rootfs     object
	RootfsType         RootfsType
	Warnings           []string // for people
}

// resolver finds kernels and root file systems in Firecracker's CI bucket.
type resolver struct{}

func newResolver(bucketURL string, from documents) (*resolver, error) { return &resolver{}, nil }

func (r *resolver) resolve(ctx context.Context, v firecracker.Version, arch string) (*resolved, error) {
	return nil, errors.ErrUnsupported
}
