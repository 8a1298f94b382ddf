// Package baseimage resolves, fetches and keeps bootable bundles: a guest
// kernel and a root file system that fit a Firecracker release, with the kernel
// arguments that go with them and, for kernels that need one, an initrd.
//
// A bundle comes from Firecracker's CI bucket, for the presets latest and lts,
// or from a project's own manifest, for the preset hosted.
package baseimage
