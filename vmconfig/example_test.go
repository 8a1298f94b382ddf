package vmconfig_test

import (
	"errors"
	"fmt"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/vmconfig"
)

func Example() {
	c, err := vmconfig.Parse([]byte(`
boot-source:
  kernel_image_path: vmlinux
  boot_args: console=ttyS0 reboot=k panic=1
machine-config: {vcpu_count: 2, mem_size_mib: 512}
drives:
  - {drive_id: rootfs, path_on_host: root.ext4, is_root_device: true, ephemeral: true}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range c.Requests() {
		fmt.Println(r)
	}
	// Output:
	// PUT /machine-config
	// PUT /boot-source
	// PUT /drives/rootfs
}

func ExampleConfig_Validate() {
	c, err := vmconfig.Parse([]byte(`
boot-source: {kernel_image_path: vmlinux}
machine-config: {vcpu_count: 64, mem_size_mib: 512}
drives: [{drive_id: root-fs, path_on_host: root.ext4}]
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	if e, ok := errors.AsType[*errcode.Error](c.Validate()); ok {
		for _, d := range e.Details {
			fmt.Println(d)
		}
	}
	// Output:
	// machine-config.vcpu_count: 64 is not in 1..32
	// drives[0].drive_id: "root-fs" has a character other than letters, digits and '_'
}

func ExampleConfig_VisitPaths() {
	c := &vmconfig.Config{}
	c.BootSource.KernelImagePath = "vmlinux"
	c.VisitPaths(func(p vmconfig.Path) string { return "/images/" + p.Path })
	fmt.Println(c.BootSource.KernelImagePath)
	// Output: /images/vmlinux
}
