package netlinux

// Link is a network interface of the host, of whatever owner.
type Link struct {
	Name  string
	Index int
	// Alias has the mark of those links that are smartvm's, see [netplan.Owner.Mark].
	Alias string
	// Kind is what the kernel's driver calls it: bridge, tun (TAPs too), wireguard,
	// veth. Empty for hardware.
	Kind string
	// Owner is the user who may open a TAP, -1 when there is none.
	Owner int
	// Carrier of a TAP tells that a process has it open. A tunnel always has it.
	Carrier bool
	// MTU in bytes.
	MTU int
	// Master is the index of the bridge that it is a port of, 0 without one.
	Master int
	// Up is what was asked for, not whether anything is attached to it.
	Up bool
}

// Port is how a TAP, or the end of a wire, becomes a port of a bridge.
type Port struct {
	Index  int // of the link
	Bridge int // index of the bridge
	MTU    int // in bytes
	Mark   string
	// Isolated keeps frames of the port from other isolated ports.
	Isolated bool
	// Wire is set for the end of a wire. It is then to have the MTU [WireMTU].
	Wire bool
}

// WireMTU is the MTU of both ends of a wire, in bytes: the largest that there is, so
// that the wire itself drops no frame. Whoever routes what comes out of it looks at
// sizes, and can say that one is too large.
const WireMTU = 65535
