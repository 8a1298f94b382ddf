package smartvm_test

import (
	"cmp"
	"os"
	"strconv"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
)

// The environment chooses which base image TestBaseImageOfTheEnvironmentBoots
// boots, and on what (contract S13.1).
const (
	presetEnv       = "SMARTVM_BASE_IMAGE_PRESET" // latest or lts
	manifestURLEnv  = "SMARTVM_BASE_IMAGE_MANIFEST_URL"
	manifestPathEnv = "SMARTVM_BASE_IMAGE_MANIFEST_PATH"
	cacheEnv        = "SMARTVM_BASE_IMAGE_CACHE_DIR"
	retentionEnv    = "SMARTVM_MAX_STORED_BASE_IMAGES"
	versionEnv      = "SMARTVM_FIRECRACKER_VERSION"
	archEnv         = "SMARTVM_ARCH"
	dataEnv         = "SMARTVM_INTEGRATION_DATA_DIR" // keeps what was downloaded for the next time
)

func TestBaseImageOfTheEnvironmentBoots(t *testing.T) {
	request := baseimage.Request{
		Preset:   baseimage.Preset(os.Getenv(presetEnv)),
		Manifest: cmp.Or(os.Getenv(manifestURLEnv), os.Getenv(manifestPathEnv)),
	}
	if request.Preset == "" && request.Manifest == "" {
		t.Skipf("needs a base image: set %s, %s or %s", presetEnv, manifestURLEnv, manifestPathEnv)
	}
	opts := smartvm.Options{
		DataDir: os.Getenv(dataEnv), BaseImageDir: cmp.Or(os.Getenv(cacheEnv), t.TempDir()), Arch: os.Getenv(archEnv),
	}
	if text := os.Getenv(retentionEnv); text != "" {
		n, err := strconv.Atoi(text)
		must(t, err)
		opts.BaseImageRetention = n
	}
	if text := os.Getenv(versionEnv); text != "" {
		v, err := firecracker.ParseVersion(text)
		must(t, err)
		opts.FirecrackerVersion = v
	}
	s := bootSiteWith(t, opts)
	b, err := s.EnsureBaseImage(t.Context(), request)
	must(t, err)
	config := smartvm.ImageConfig(b)
	config.FirecrackerVersion = opts.FirecrackerVersion // the one that is tested with
	config.MachineConfig = &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 256}
	vm := s.bootConfig(config)
	follow(t, vm, smartvm.ConsoleOptions{}).find("\n")
}
