package cli

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

func TestMemoryIsReadAsMebibytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]mebibytes{"512": 512, "512M": 512, "512MiB": 512, "2G": 2048, "1gib": 1024, "1mb": 1} {
		var m mebibytes
		if err := m.Set(text); err != nil || m != want {
			t.Errorf("%q: %d, %v; want %d", text, m, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "M", "1T", "1.5G", "1 G", "GG", "1GM", "99999999999"} {
		var m mebibytes
		if err := m.Set(text); err == nil {
			t.Errorf("%q was accepted as %d", text, m)
		}
	}
}

func TestDrivesGetFreeIDsAndReplaceTheirNamesakes(t *testing.T) {
	t.Parallel()
	config := vmconfig.Config{Drives: []vmconfig.Drive{
		{Drive: firecracker.Drive{DriveID: "rootfs", PathOnHost: "old"}}, {Drive: firecracker.Drive{DriveID: "drive1", PathOnHost: "kept"}},
	}}
	var d driveFlags
	for _, text := range []string{"a", "b,ro,root,id=rootfs", "c,persist", "d,root"} {
		if err := d.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	d.addTo(&config)
	want := []vmconfig.Drive{
		{Drive: firecracker.Drive{DriveID: "rootfs", PathOnHost: "b", IsRootDevice: true, IsReadOnly: true}},
		{Drive: firecracker.Drive{DriveID: "drive1", PathOnHost: "kept"}},
		{Drive: firecracker.Drive{DriveID: "drive2", PathOnHost: "a"}},
		{Drive: firecracker.Drive{DriveID: "drive3", PathOnHost: "c"}, Ephemeral: new(false)},
		{Drive: firecracker.Drive{DriveID: "drive4", PathOnHost: "d", IsRootDevice: true}},
	}
	if diff := cmp.Diff(want, config.Drives); diff != "" {
		t.Errorf("drives (-want +got):\n%s", diff)
	}
}

func TestDriveRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", ",ro", "a,", "a,rw", "a,id=", "a,ro=1", "a,ro,,root"} {
		var d driveFlags
		if err := d.Set(text); err == nil {
			t.Errorf("%q was accepted as %+v", text, d)
		}
	}
}

func TestVsockTakesAPathWithOrWithoutCID(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]vsockFlag{
		"v.sock": {3, "v.sock"}, "7:v.sock": {7, "v.sock"}, "/a:b/v": {3, "/a:b/v"}, "4294967295:x": {4294967295, "x"},
	} {
		var v vsockFlag
		if err := v.Set(text); err != nil || v != want {
			t.Errorf("%q: %+v, %v", text, v, err)
		}
	}
	for _, text := range []string{"", "3:", "2:v", "x:v", "-1:v", "4294967296:v"} {
		var v vsockFlag
		if err := v.Set(text); err == nil {
			t.Errorf("%q was accepted as %+v", text, v)
		}
	}
}

func TestDetachKeyIsAControlCharacter(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]controlKey{"ctrl-]": 0x1d, "ctrl-a": 1, "CTRL-Z": 26, `ctrl-\`: 0x1c, "ctrl-_": 0x1f} {
		var k controlKey
		if err := k.Set(text); err != nil || k != want {
			t.Errorf("%q: %#x, %v", text, k, err)
		}
	}
	for _, text := range []string{"", "a", "ctrl-", "ctrl-1", "ctrl-ab", "ctrl-["} {
		var k controlKey
		if err := k.Set(text); err == nil {
			t.Errorf("%q was accepted as %#x", text, k)
		}
	}
}

func TestLastLinesKeepsTheTail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"a\nb\nc\n", 2, "b\nc\n"},
		{"a\nb\nc", 2, "b\nc"},
		{"a\n", 5, "a\n"},
		{"", 1, ""},
		{"a\nb\n", 0, ""},
		{"a\nb\n", allLines, "a\nb\n"},
		{"\n\n\n", 2, "\n\n"},
	} {
		if got := string(lastLines([]byte(c.text), c.n)); got != c.want {
			t.Errorf("%d of %q: %q, want %q", c.n, c.text, got, c.want)
		}
	}
}

func TestAgeHasOneUnit(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 90 * time.Second: "1m", 47 * time.Hour: "47h", 49 * time.Hour: "2d",
	} {
		if got := age(now.Add(-d), now); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

func TestSizesAreToldInTheUnitThatSuitsThem(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 84 << 20: "84.0 MiB", 3 << 29: "1.5 GiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := byteSize(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestAWordForAnImageMeansOneThing(t *testing.T) {
	t.Parallel()
	hosted := func(manifest string) baseimage.Request {
		return baseimage.Request{Preset: baseimage.Hosted, Manifest: manifest}
	}
	for word, want := range map[string]baseimage.Request{
		"latest": {Preset: baseimage.Latest}, "lts": {Preset: baseimage.LTS}, "hosted": {Preset: baseimage.Hosted},
		"https://example.com/m": hosted("https://example.com/m"), "file:///m": hosted("file:///m"), "./m": hosted("./m"),
		"m.json": hosted("m.json"), "dir/latest": hosted("dir/latest"), "/m": hosted("/m"),
		"web-v1": {ID: "web-v1"}, "Latest": {ID: "Latest"}, "v1.7": {ID: "v1.7"},
	} {
		if got, err := imageRequest(word); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", word, got, err, want)
		}
	}
	if got, err := imageRequest(""); err == nil {
		t.Errorf("nothing is taken as %+v", got)
	}
}

func FuzzFlagValues(f *testing.F) {
	for _, seed := range []string{"512M", "a,ro,id=x", "3:v.sock", "ctrl-]", "debug", "v1.12.1", ",", "=", ":"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		memory, key, level, version := new(mebibytes), new(controlKey), new(logLevel), new(releaseVersion)
		for _, value := range []pflag.Value{memory, key, level, version, new(driveFlags), new(vsockFlag), new(wholeNumber)} {
			if value.Set(text) != nil {
				continue
			}
			printed := value.String()
			switch value {
			case memory, key, level, version: // what is printed means the same
				if err := value.Set(printed); err != nil || value.String() != printed {
					t.Errorf("%s %q: %q, %v", value.Type(), text, printed, err)
				}
			}
		}
	})
}
