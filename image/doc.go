// Package image finds and verifies the files that a microVM is made of:
// Firecracker and its jailer, kernels and root file systems.
package image
