// Package pool prepares a host for users who are not root: an administrator makes a
// pool once, and from then on its user's VMs have networks, without root and without
// any capability.
//
// A pool is a network of its own (see hostnet) with a number of TAP devices that the
// user may open and nobody may change but root, and access to the devices that VMs
// need. [SetUp] makes one and [Remove] removes it; both need root. The user finds the
// pool with [Open].
//
// What is made is written down before in a ledger, so that a [SetUp] or [Remove] that
// was killed is put right by the next one. Nothing of a pool outlives the host's start.
//
//	<dir>/                 0755, /run/smartvm-pools by default
//	  1000.json            the pool of user 1000, for that user: root's, and read only
//	  state/               0700
//	    .lock              held by whoever makes or removes a pool
//	    1000/ledger        what was made for the pool
//	    .networks/         the networks, see hostnet
package pool
