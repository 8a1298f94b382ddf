// Package console carries a guest's serial port.
//
// Firecracker's standard output and input are two FIFOs in the VM's directory.
// Firecracker holds each open for reading and writing, so neither ever ends
// before the process does, and it writes without blocking: a guest that nobody
// listens to is not slowed down, its output is dropped once the FIFO is full.
//
// One process at a time, the keeper, moves the output into a [Log], a bounded
// series of files that anybody may read and follow, from the past or live. If
// the keeper dies, the guest does not notice, and the next keeper goes on with
// what the FIFO still holds.
package console
