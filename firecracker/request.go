package firecracker

// Request is one API call as a value: what would be sent, before it is sent.
// Its Body is one of this package's types, nil for a call without a body.
type Request struct {
	Method string
	Path   string
	Body   any
	// Hotplug marks a PUT that adds a device to a VM that has started, which is
	// the same call as before the boot and needs a newer Firecracker.
	Hotplug bool
}

// String returns "PUT /drives/rootfs".
func (r Request) String() string { return r.Method + " " + r.Path }

// Known reports whether the call is one of the API that this package covers.
func (r Request) Known() bool {
	_, ok := r.facts()
	return ok
}
