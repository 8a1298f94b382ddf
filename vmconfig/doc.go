// Package vmconfig describes a virtual machine as a value: what [Parse] reads
// from a VM file, what [Config.Validate] checks and what [Config.Requests]
// turns into the calls that Firecracker gets before the boot.
//
// A VM file is the file of Firecracker's --config-file, in JSON or as YAML,
// plus keys of smartvm. A file that boots with Firecracker boots unchanged,
// unless it has what Firecracker lets pass and does not do: an unknown key, an
// id used twice, a rate limiter of size 0, an address that no guest can use.
// Ids of devices go through Firecracker's API, which refuses the '-' that its
// file may have. Empty boot args stand for Firecracker's default.
//
// The package is pure: it touches no file, no socket and no clock. It needs no
// root and no KVM, on any 64-bit system.
package vmconfig
