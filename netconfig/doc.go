// Package netconfig is the network of VMs as a value: which bridge and subnet
// there are, what guests may reach, where their traffic leaves the host and which
// ports lead to them. It needs neither a host nor root; hostnet makes it true.
//
//	c := &netconfig.Config{Subnet: netip.MustParsePrefix("10.20.0.0/16")}
//	c.Egress, err = netconfig.ParsePolicy(file) // or ParseRule for one word of a command
//	c.WireGuard = &netconfig.WireGuard{}
//	c.WireGuard.Tunnel, warnings, err = netconfig.ParseWireGuard(conf)
//	err = c.Validate() // every mistake at once
//
// Values are read by any number of goroutines, and changed by one at a time. All
// functions are safe for concurrent use.
//
// Everything here is IPv4. IPv6 from guests is dropped, never forwarded.
package netconfig
