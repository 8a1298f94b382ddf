// Package pager serves the memory of a restored microVM out of a snapshot's memory file,
// page by page as it is touched.
//
// Firecracker maps anonymous memory, registers it with a userfaultfd, connects to the Unix
// socket that it was told, and sends where its memory is together with the userfaultfd.
// From then on each first touch of a page stops the thread that touches it until somebody
// has filled the page: this is [Serve]'s work, in a process of its own, which outlives the
// program that has started it and ends with Firecracker. See userfaultfd(2),
// ioctl_userfaultfd(2), and Firecracker's
// docs/snapshotting/handling-page-faults-on-snapshot-resume.md.
//
// One thread does it all, and that is what makes it right: when the guest gives memory
// back, the kernel lets that happen only after the event has been read, and refuses to fill
// any page in between. So between reading all events and filling a page nothing can change
// that the page's content depends on.
//
// Nothing in the protocol tells Firecracker that its server is gone; it would wait for ever
// for the next page. So the server leaves something behind that has the kernel kill
// Firecracker when the server ends, however it does: see guard.go.
package pager
