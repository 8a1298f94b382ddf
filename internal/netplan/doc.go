// Package netplan decides what the kernel's state of a network is to be. It is
// pure: a [netconfig.Config], facts about the host and the guests go in; links,
// sysctls, routing rules, routes and nftables tables come out, printable as text.
// What netlinux does is exactly what this package says.
package netplan
