package guestline

// PlanPath is the file in an initrd that has the [Plan].
const PlanPath = "/modules.json"

// Plan says what the initrd loads: paths of modules in it, in the order in which
// they have to be loaded.
type Plan struct {
	// Always are loaded first. They make the devices appear.
	Always []string `json:"always"`
	// Devices are loaded for a virtio device of that number, in decimal digits.
	Devices map[string][]string `json:"devices"`
	// FileSystems are loaded to mount one of that type.
	FileSystems map[string][]string `json:"fileSystems"`
}
