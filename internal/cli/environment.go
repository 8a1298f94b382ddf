package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/pool"
)

// The variables of the environment that smartvm reads.
const (
	envDataDir     = "SMARTVM_DATA_DIR"
	envRuntimeDir  = "SMARTVM_RUNTIME_DIR"
	envFirecracker = "SMARTVM_FIRECRACKER"
	envVersion     = "SMARTVM_FIRECRACKER_VERSION"
	envOffline     = "SMARTVM_OFFLINE"
	envArch        = "SMARTVM_ARCH"
	envReleaseURL  = "SMARTVM_RELEASE_URL"
	envBucketURL   = "SMARTVM_BUCKET_URL"
	envPreset      = "SMARTVM_BASE_IMAGE_PRESET"
	envManifestURL = "SMARTVM_BASE_IMAGE_MANIFEST_URL"
	envManifest    = "SMARTVM_BASE_IMAGE_MANIFEST_PATH"
	envCacheDir    = "SMARTVM_BASE_IMAGE_CACHE_DIR"
	envRetention   = "SMARTVM_MAX_STORED_BASE_IMAGES"
	envNetwork     = "SMARTVM_NETWORK"
	envNoJail      = "SMARTVM_NO_JAIL"
	envPoolDir     = "SMARTVM_POOL_DIR"
)

func (a *app) environmentCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "environment",
		Short: "Show the variables of the environment that smartvm reads",
		Long: `The variables of the environment that smartvm reads. A flag counts more than its
variable, an empty variable is none, and a wrong value is a wrong command line.

  ` + envDataDir + `
      what outlives VMs: binaries, images (--data-dir)
  ` + envRuntimeDir + `
      a directory per VM (--runtime-dir)
  ` + envFirecracker + `
      the Firecracker to use (--firecracker)
  ` + envVersion + `
      the release to use, such as v1.12.1 (--firecracker-version)
  ` + envOffline + `
      1, true or yes: no network, only what is on this machine (--offline)
  ` + envArch + `
      what is downloaded is for x86_64 or aarch64; default: as this machine
  ` + envReleaseURL + `
      where Firecracker's releases are: a mirror, or a file:// tree of the layout of
      ` + image.DefaultReleaseURL + `
  ` + envBucketURL + `
      where the images latest and lts are: a mirror, or a file:// tree of the keys of
      ` + baseimage.DefaultBucketURL + `
  ` + envPreset + `
      what image pull gets by default: latest, lts or hosted
  ` + envManifestURL + `
  ` + envManifest + `
      the URL, or the path, of the manifest that hosted means; hosted is then what
      image pull gets by default
  ` + envCacheDir + `
      the cache of images; default: base-images below the data directory
  ` + envRetention + `
      how many images the cache keeps; default: ` + strconv.Itoa(baseimage.DefaultRetention) + `
  ` + envNetwork + `
      the network that --net means: a bridge, or a network file; default: ` + netconfig.DefaultBridge + `
  ` + envNoJail + `
      1, true or yes: as root, Firecracker runs without a jail (--no-jail)
  ` + envPoolDir + `
      where smartvm setup describes what users may use; default: ` + pool.DefaultDir + `

Proxies are those of HTTPS_PROXY, HTTP_PROXY and NO_PROXY. With TERM=dumb no bars
are drawn. SOURCE_DATE_EPOCH is for image pack.`,
		Example: `  ` + envOffline + `=1 smartvm run --image latest
  ` + envReleaseURL + `=file:///srv/mirror/releases smartvm firecracker pull v1.12.1`,
		Args: a.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
}

// options are those of the flags and of the environment.
func (a *app) options() (smartvm.Options, error) {
	opts := smartvm.Options{
		DataDir: a.dataDir, RuntimeDir: a.runtimeDir, FirecrackerPath: a.firecracker, BaseImageDir: os.Getenv(envCacheDir),
		PoolDir: os.Getenv(envPoolDir),
		Logger:  slog.New(newLogHandler(a.stderr, a.level.level())),
	}
	if self, err := os.Executable(); err == nil {
		opts.PageServer = []string{self, pageServerVerb}
	}
	if a.bars != nil {
		opts.Progress = a.bars
	}
	var errs []error
	for _, v := range variables {
		if text := os.Getenv(v.name); text != "" {
			if err := v.set(&opts, text); err != nil {
				errs = append(errs, badVariable(v.name, err))
			}
		}
	}
	opts.Offline = opts.Offline || a.offline
	if wanted := firecracker.Version(a.wanted); !wanted.IsZero() {
		opts.FirecrackerVersion = wanted
	}
	return opts, errors.Join(errs...)
}

// variables are what the environment says about the options, but for paths, which
// can't be wrong by themselves.
var variables = []struct {
	name string
	set  func(opts *smartvm.Options, text string) error
}{
	{envVersion, func(opts *smartvm.Options, text string) (err error) {
		opts.FirecrackerVersion, err = parseVersion(text)
		return err
	}},
	{envOffline, func(opts *smartvm.Options, text string) (err error) {
		opts.Offline, err = parseBool(text)
		return err
	}},
	{envNoJail, func(opts *smartvm.Options, text string) (err error) {
		opts.Jail.Off, err = parseBool(text)
		return err
	}},
	{envArch, func(opts *smartvm.Options, text string) error {
		opts.Arch = text
		if text != "x86_64" && text != "aarch64" {
			return fmt.Errorf("%q is neither x86_64 nor aarch64", text)
		}
		return nil
	}},
	{envReleaseURL, func(opts *smartvm.Options, text string) error {
		opts.ReleaseURL = text
		_, err := image.NewStore(image.Options{DataDir: ".", ReleaseURL: text})
		return causeOf(err)
	}},
	{envBucketURL, func(opts *smartvm.Options, text string) error {
		opts.BucketURL = text
		_, err := baseimage.Open(baseimage.Options{CacheDir: ".", BucketURL: text}) // it holds nothing yet
		return causeOf(err)
	}},
	{envRetention, func(opts *smartvm.Options, text string) (err error) {
		opts.BaseImageRetention, err = strconv.Atoi(text)
		if err != nil || opts.BaseImageRetention < 1 {
			return fmt.Errorf("%q is not a number from 1 on", text)
		}
		return nil
	}},
	{envNetwork, func(opts *smartvm.Options, text string) error {
		config, err := networkConfig(text)
		if err != nil {
			return err
		}
		opts.Network = *config
		return config.Validate()
	}},
	{envManifestURL, func(opts *smartvm.Options, text string) error {
		opts.BaseImageManifest = text
		if !strings.Contains(text, "://") {
			return errors.New("it is not a URL; a path goes into " + envManifest)
		}
		return nil
	}},
	{envManifest, func(opts *smartvm.Options, text string) error {
		if opts.BaseImageManifest != "" {
			return errors.New("it excludes " + envManifestURL)
		}
		opts.BaseImageManifest = text
		return nil
	}},
}

func badVariable(name string, err error) error {
	return usageError{&smartvm.Error{
		Code: smartvm.InvalidConfig, Op: "read", Subject: name, Err: err, Hint: "smartvm help environment has the variables and their values",
	}}
}

// causeOf leaves out what an error says about the operation, which the user has not
// asked for.
func causeOf(err error) error {
	if e, ok := errors.AsType[*smartvm.Error](err); ok && e.Err != nil {
		return e.Err
	}
	return err
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "1", "true", "yes":
		return true, nil
	case "0", "false", "no":
		return false, nil
	default:
		return false, fmt.Errorf("%q is neither 1, true, yes nor 0, false, no", text)
	}
}
