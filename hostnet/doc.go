// Package hostnet keeps the networks of VMs on this host: the bridge with its
// subnet and addresses, TAP devices, NAT, what guests may reach, forwarded ports and
// WireGuard. What a network is to be in the kernel is a plan that can be read
// without root; making it needs CAP_NET_ADMIN.
//
// A network belongs to no process. Its directory has a ledger of what is in the
// kernel and a file for each address in use; whoever changes it holds a lock for
// that moment. It is made for its first user and goes with the last: a VM's
// interface, or a [Network] that holds on to it.
package hostnet
