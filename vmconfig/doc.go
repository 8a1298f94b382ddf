// Package vmconfig describes a virtual machine as a value: what [Parse] reads
// from a VM file, what [Config.Validate] checks and what [Config.Requests]
// turns into the calls that Firecracker gets before the boot.
//
// A VM file is the file of Firecracker's --config-file, in JSON or as YAML,
// plus keys of smartvm. A file that Firecracker takes is taken here unchanged,
// but for device ids: those go through Firecracker's API, which is stricter
// about them than its file is.
//
// The package is pure: it touches no file, no socket and no clock. It needs no
// root and no KVM, on any 64-bit system.
package vmconfig
