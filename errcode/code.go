// Package errcode defines the one error type of smartvm and its stable codes.
//
// Every failure that a caller could act on differently has a code of its own.
// Codes are part of the API: they are never renamed or reused.
//
//	if errors.Is(err, errcode.InvalidState) { ... }
//
//	var e *errcode.Error
//	if errors.As(err, &e) { fmt.Println(e.Code, e.Hint) }
package errcode

// Code is a stable, machine-readable reason for a failure. A Code is itself an
// error, so that it can be the target of errors.Is.
type Code string

// Error returns the code as it is.
func (c Code) Error() string { return string(c) }

// Codes of the virtual machine's life cycle and configuration.
const (
	// InvalidState: the operation is not allowed in the VM's present state.
	InvalidState Code = "INVALID_STATE"
	// InvalidConfig: a configuration, option or argument does not hold up; Details has every mistake.
	InvalidConfig Code = "INVALID_CONFIG"
	// StartFailed: a start was undone for a reason that has no code of its own.
	StartFailed Code = "START_FAILED"
	// NoClient: there is no Firecracker process to talk to yet.
	NoClient Code = "NO_CLIENT"
	// VMExists: the id is in use, in this manager or by another process on this host.
	VMExists Code = "VM_EXISTS"
	// VMNotFound: no VM of that id is known.
	VMNotFound Code = "VM_NOT_FOUND"
	// VMOwned: another live process owns the VM, so only that process may release its resources.
	VMOwned Code = "VM_OWNED"
	// ProcessExited: Firecracker ended while it was needed.
	ProcessExited Code = "PROCESS_EXITED"
	// Cancelled: the caller's context ended before the operation did; the cause matches the context's error.
	Cancelled Code = "CANCELLED"
	// StopFailed: the process would not end, not even when killed.
	StopFailed Code = "STOP_FAILED"
	// CleanupFailed: something that was made for a VM could not be removed and is still recorded.
	CleanupFailed Code = "CLEANUP_FAILED"
	// LedgerFailed: the record of host resources could not be written or read, so nothing was changed.
	LedgerFailed Code = "LEDGER_FAILED"
	// StageFailed: a drive could not be copied for the VM.
	StageFailed Code = "STAGE_FAILED"
	// ConsoleFailed: the serial console could not be opened, read or written.
	ConsoleFailed Code = "CONSOLE_FAILED"
)

// Codes of snapshots.
const (
	// SnapshotFailed: a snapshot was not taken, for a reason that has no code of its own.
	SnapshotFailed Code = "SNAPSHOT_FAILED"
	// SnapshotExists: the store has a snapshot of that name.
	SnapshotExists Code = "SNAPSHOT_EXISTS"
	// SnapshotNotFound: the store has no snapshot of that name.
	SnapshotNotFound Code = "SNAPSHOT_NOT_FOUND"
	// SnapshotInUse: VMs map the snapshot's memory, or diffs follow it.
	SnapshotInUse Code = "SNAPSHOT_IN_USE"
	// SnapshotMismatch: the snapshot is of another kind of host; Details has every difference.
	SnapshotMismatch Code = "SNAPSHOT_MISMATCH"
	// InvalidSnapshot: files of the snapshot are not what they were, or were never right.
	InvalidSnapshot Code = "INVALID_SNAPSHOT"
)

// Codes of the host and its limits.
const (
	// KVMUnavailable: /dev/kvm is missing, forbidden or does not work.
	KVMUnavailable Code = "KVM_UNAVAILABLE"
	// NoSpace: a file system has too little room; Details has the need and what is free.
	NoSpace Code = "NO_SPACE"
	// InsecurePath: a directory or file belongs to somebody else or may be written by others.
	InsecurePath Code = "INSECURE_PATH"
	// PathTooLong: a Unix socket path is longer than the kernel allows (107 bytes).
	PathTooLong Code = "PATH_TOO_LONG"
	// HostUnsupported: the host lacks something that smartvm needs.
	HostUnsupported Code = "HOST_UNSUPPORTED"
	// DirectoryFailed: a directory of smartvm could not be made, opened or written.
	DirectoryFailed Code = "DIRECTORY_FAILED"
	// CgroupUnavailable: the control groups of this host can't limit a VM as asked; Details has the controllers that are missing.
	CgroupUnavailable Code = "CGROUP_UNAVAILABLE"
)

// Codes of Firecracker's API and binary.
const (
	// SocketTimeout: Firecracker's API socket did not answer in time after the start of the process.
	SocketTimeout Code = "SOCKET_TIMEOUT"
	// APITimeout: a request got no answer in time.
	APITimeout Code = "API_TIMEOUT"
	// SocketRequestFailed: a request could not be sent or its answer not be read.
	SocketRequestFailed Code = "SOCKET_REQUEST_FAILED"
	// APIError: Firecracker refused a request; StatusCode and the cause have its words.
	APIError Code = "API_ERROR"
	// UnsupportedVersion: this Firecracker is older than the endpoint or field that was asked for.
	UnsupportedVersion Code = "UNSUPPORTED_VERSION"
	// BinaryNotFound: there is no Firecracker (or jailer) binary where one was looked for.
	BinaryNotFound Code = "BINARY_NOT_FOUND"
	// JailFailed: a file could not be brought into a VM's jail, or the jail not be made.
	JailFailed Code = "JAIL_FAILED"
	// UIDExhausted: all user ids for jailed VMs are in use.
	UIDExhausted Code = "UID_EXHAUSTED"
	// BinaryUnusable: the binary exists and can't be trusted or executed.
	BinaryUnusable Code = "BINARY_UNUSABLE"
)

// Codes of images.
const (
	// DownloadFailed: a file could not be fetched whole and verified.
	DownloadFailed Code = "DOWNLOAD_FAILED"
	// VersionFetchFailed: the newest Firecracker release could not be found out.
	VersionFetchFailed Code = "VERSION_FETCH_FAILED"
	// BaseImageResolveFailed: no bundle fits what was asked for.
	BaseImageResolveFailed Code = "BASE_IMAGE_RESOLVE_FAILED"
	// BaseImageManifestFailed: a manifest could not be read or written.
	BaseImageManifestFailed Code = "BASE_IMAGE_MANIFEST_FAILED"
	// BaseImagePrepareFailed: a bundle could not be put into the cache.
	BaseImagePrepareFailed Code = "BASE_IMAGE_PREPARE_FAILED"
	// BaseImageInUse: somebody uses the bundle, so it can be neither removed nor replaced.
	BaseImageInUse Code = "BASE_IMAGE_IN_USE"
	// BaseImageDamaged: a bundle in the cache is not what it was; Details has the files.
	BaseImageDamaged Code = "BASE_IMAGE_DAMAGED"
	// InvalidBaseImageManifest: a manifest breaks its rules; Details has the fields.
	InvalidBaseImageManifest Code = "INVALID_BASE_IMAGE_MANIFEST"
	// InvalidBaseImageCacheLimit: a retention limit is not a positive number.
	InvalidBaseImageCacheLimit Code = "INVALID_BASE_IMAGE_CACHE_LIMIT"
	// RootfsCreateFailed: a root file system could not be made, blank or of a directory or tar.
	RootfsCreateFailed Code = "ROOTFS_CREATE_FAILED"
	// RootfsCloneFailed: a root file system could not be cloned.
	RootfsCloneFailed Code = "ROOTFS_CLONE_FAILED"
)

// Codes of the host network.
const (
	// InvalidSubnet: a subnet can't be used.
	InvalidSubnet Code = "INVALID_SUBNET"
	// InvalidInterfaceName: the kernel would not accept an interface name.
	InvalidInterfaceName Code = "INVALID_INTERFACE_NAME"
	// InvalidFirewallConfig: an egress policy breaks its rules.
	InvalidFirewallConfig Code = "INVALID_FIREWALL_CONFIG"
	// InvalidWireGuardConfig: a WireGuard configuration breaks its rules.
	InvalidWireGuardConfig Code = "INVALID_WIREGUARD_CONFIG"
	// IPExhausted: the subnet has no free address.
	IPExhausted Code = "IP_EXHAUSTED"
	// BridgeSetupFailed: the bridge could not be made or configured.
	BridgeSetupFailed Code = "BRIDGE_SETUP_FAILED"
	// WireGuardSetupFailed: WireGuard egress could not be set up.
	WireGuardSetupFailed Code = "WIREGUARD_SETUP_FAILED"
	// TapCreateFailed: a TAP device could not be made.
	TapCreateFailed Code = "TAP_CREATE_FAILED"
	// NetworkInUse: a network has users, so it can be neither changed nor removed.
	NetworkInUse Code = "NETWORK_IN_USE"
	// NetworkNotFound: there is no network of that name.
	NetworkNotFound Code = "NETWORK_NOT_FOUND"
	// NetworkFailed: the kernel refused a part of a network's state.
	NetworkFailed Code = "NETWORK_FAILED"
	// PortInUse: a port of the host is taken.
	PortInUse Code = "PORT_IN_USE"
	// NotPermitted: this process lacks a capability; the hint names it.
	NotPermitted Code = "NOT_PERMITTED"
)

// Codes lists every code, in the order of their declaration.
func Codes() []Code {
	return []Code{
		SnapshotFailed, SnapshotExists, SnapshotNotFound, SnapshotInUse, SnapshotMismatch, InvalidSnapshot,
		InvalidState, InvalidConfig, StartFailed, NoClient, VMExists, VMNotFound, VMOwned, ProcessExited,
		Cancelled, StopFailed, CleanupFailed, LedgerFailed, StageFailed, ConsoleFailed,
		KVMUnavailable, NoSpace, InsecurePath, PathTooLong, HostUnsupported, DirectoryFailed, CgroupUnavailable,
		SocketTimeout, APITimeout, SocketRequestFailed, APIError, UnsupportedVersion, BinaryNotFound, BinaryUnusable,
		DownloadFailed, VersionFetchFailed, BaseImageResolveFailed, BaseImageManifestFailed,
		BaseImagePrepareFailed, BaseImageInUse, BaseImageDamaged, InvalidBaseImageManifest, InvalidBaseImageCacheLimit,
		RootfsCreateFailed, RootfsCloneFailed,
		InvalidSubnet, InvalidInterfaceName, InvalidFirewallConfig, InvalidWireGuardConfig, IPExhausted,
		BridgeSetupFailed, WireGuardSetupFailed, TapCreateFailed,
		NetworkInUse, NetworkNotFound, NetworkFailed, PortInUse, NotPermitted,
	}
}
