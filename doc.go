// Package smartvm boots and controls Firecracker microVMs on a Linux host, and
// leaves nothing behind.
//
//	m, err := smartvm.New(smartvm.Options{})
//	vm, err := m.CreateVM("", vmconfig.Config{BootSource: firecracker.BootSource{KernelImagePath: "vmlinux"}})
//	err = vm.Start(ctx)
//	defer vm.Cleanup(ctx)
//
// Everything that is made on the host for a VM is recorded before it is made,
// in a ledger in the VM's runtime directory. A start that fails, [VM.Cleanup]
// and [Manager.GC] after a crash are the same operation on that record.
//
// A VM outlives the program that started it: a later one finds it with
// [Manager.Inventory], uses it with [Manager.Attach] and takes it over with
// [Manager.Adopt].
//
// The package joins others that can be used alone: vmconfig (configurations
// and their files), firecracker (the API client), image (binaries).
package smartvm
