// Package netlinux makes the plans of netplan true. It is the only package that
// talks to the kernel about networks: links, addresses, routes and routing rules by
// rtnetlink, tables by nftables, tunnels by WireGuard's own interface. No command
// is run.
//
// Nothing here knows about leases or ledgers: every call says exactly what it
// makes or removes, and what it removes carries the mark of its owner.
package netlinux
