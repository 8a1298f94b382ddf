// Package firecracker is Firecracker as it is: the wire types of its HTTP API,
// with the release that each endpoint and field came with, and a [Client] for
// the Unix socket of one process.
//
// The types cover Firecracker v1.0 to v1.17. A field's `since` tag says which
// release brought it, `optional` since when it may be left out, `values` which
// release brought a value. Firecracker rejects what it does not know, so a
// request is checked against the version before anything is sent ([Request.Check]).
package firecracker
