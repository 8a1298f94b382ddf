// Package image keeps the files that a microVM is made of: Firecracker and its
// jailer, kernels and root file systems.
//
//	store, err := image.NewStore(image.Options{DataDir: "/var/lib/smartvm"})
//	if err != nil { ... }
//	v, err := store.LatestVersion(ctx)
//	if err != nil { ... }
//	release, err := store.DownloadFirecracker(ctx, v)
//	if err != nil { ... }
//	kernel, err := store.DownloadKernel(ctx, image.FileSource{URL: url, SHA256: sum}, "vmlinux-6.1")
//	if err != nil { ... }
//	disk, err := store.CreateBlankRootfs(ctx, "scratch.ext4", 1024)
//
// A file has its name when it is whole and verified, not before; what a process
// leaves that is killed is taken up or removed by the next call. [Find] looks for
// a Firecracker without fetching one, and needs no store.
package image
