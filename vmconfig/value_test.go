package vmconfig_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/vmconfig"
)

// addresses are compared as they are.
var addresses = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// fill sets every field that v has, at any depth, to a random value; sparse
// leaves some of them out.
func fill(r *rand.Rand, v reflect.Value, sparse bool) {
	if sparse && v.Kind() != reflect.Struct && r.IntN(3) == 0 {
		return
	}
	if known := randomOf(r, v.Type()); known != nil {
		v.Set(reflect.ValueOf(known))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[vmconfig.CPUConfig]() && r.IntN(2) == 0 {
			v.FieldByName("Path").SetString("p" + randomText(r))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(r, v.Field(i), sparse)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem(), sparse)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(r, v.Index(i), sparse)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			value := reflect.New(v.Type().Elem()).Elem()
			fill(r, value, false)
			v.SetMapIndex(reflect.ValueOf(randomText(r)), value)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(randomData(r, 3)))
	case reflect.String:
		v.SetString(randomText(r))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Uint64, reflect.Uint32, reflect.Uint16:
		v.SetUint(r.Uint64() >> (64 - v.Type().Bits()))
	case reflect.Float64:
		v.SetFloat(r.NormFloat64() * []float64{1, 1e-300, 1e300}[r.IntN(3)])
	case reflect.Int:
		v.SetInt(r.Int64() - r.Int64())
	default:
		panic("the config has a kind that Parse does not know: " + v.Kind().String())
	}
}

// randomOf returns a value of a type that is a text in a file, so that not any will
// do; nil for other types.
func randomOf(r *rand.Rand, t reflect.Type) any {
	addr := netip.AddrFrom4([4]byte{byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))})
	switch t {
	case reflect.TypeFor[firecracker.Version]():
		return firecracker.Version{Major: r.IntN(3), Minor: r.IntN(1 << 16), Patch: r.IntN(1 << 16)}
	case reflect.TypeFor[netip.Addr]():
		return addr
	case reflect.TypeFor[netconfig.Destination]():
		return netconfig.Destination{Prefix: netip.PrefixFrom(addr, 1+r.IntN(32)).Masked()}
	case reflect.TypeFor[netconfig.PortRange]():
		first := uint16(1 + r.IntN(1000))
		return netconfig.PortRange{First: first, Last: first + uint16(r.IntN(2))}
	case reflect.TypeFor[netconfig.Action]():
		return []netconfig.Action{netconfig.Allow, netconfig.Deny}[r.IntN(2)]
	case reflect.TypeFor[netconfig.Protocol]():
		return []netconfig.Protocol{netconfig.TCP, netconfig.UDP, netconfig.ICMP, netconfig.All}[r.IntN(4)]
	}
	return nil
}

// randomText prefers what YAML could take for something else.
func randomText(r *rand.Rand) string {
	odd := []string{
		"", "Off", "no", "y", "~", "null", "true", "2M", "0x1", "1e3", "-1.5", "010", "0o7", "1_000", ".inf", ".nan", "12:34:56", "2001-01-01",
		"<<", "*a", "&a", "!a", "- a", "? a", "a: b", ": a", "a #b", "#a", " a ", "a\nb", "\n", "\t", "'", "\"", "\\", "{a}", "[a]", "a,b", "%a", "@a", "`a",
		"\u2028", "\u0085", "\ufeff", "\U0001F600", "é", "<>&", "---", "...", "|", ">", "=", "a\r\nb", "\x7f", "\u0001",
	}
	text := odd[r.IntN(len(odd))]
	if r.IntN(2) == 0 {
		text += odd[r.IntN(len(odd))]
	}
	return text
}

func randomData(r *rand.Rand, depth int) any {
	switch n := r.IntN(7); {
	case n == 0:
		return r.IntN(2) == 0
	case n == 1:
		return json.Number([]string{"0", "-1", "1.50", "1e3", "1E-7", "12345678901234567890", "-0"}[r.IntN(7)])
	case n == 2 && depth > 0:
		items := make([]any, r.IntN(3))
		for i := range items {
			items[i] = randomData(r, depth-1)
		}
		return items
	case n == 3 && depth > 0:
		members := map[string]any{}
		for range r.IntN(3) {
			members[randomText(r)] = randomData(r, depth-1)
		}
		return members
	default:
		return randomText(r)
	}
}

func filled(seed uint64, sparse bool) *vmconfig.Config {
	c := new(vmconfig.Config)
	fill(rand.New(rand.NewPCG(seed, 0)), reflect.ValueOf(c).Elem(), sparse)
	return c
}

func TestEveryConfigRoundTripsThroughJSONAndYAML(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		want := filled(seed, seed%2 == 0)
		asJSON, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		asYAML, err := want.MarshalYAML()
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{string(asJSON), string(asYAML)} {
			if diff := cmp.Diff(want, parse(t, text), addresses); diff != "" {
				t.Fatalf("seed %d (-want +got):\n%s\nin\n%s", seed, diff, text)
			}
		}
	}
}

func TestConfigIsReadAndWrittenByEncodingJSON(t *testing.T) {
	t.Parallel()
	type file struct {
		VM vmconfig.Config `json:"vm"`
	}
	want, got := file{*filled(1, false)}, file{}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, addresses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"vm": {"kernel": 1}}`), &got); !errors.Is(err, errcode.InvalidConfig) {
		t.Errorf("an unknown key: got %v, want INVALID_CONFIG", err)
	}
}

func TestEveryDeviceTypeRoundTripsAlone(t *testing.T) {
	t.Parallel()
	for _, p := range []any{new(vmconfig.Drive), new(vmconfig.CPUConfig)} {
		for seed := range uint64(20) {
			reflect.ValueOf(p).Elem().SetZero()
			fill(rand.New(rand.NewPCG(seed, 1)), reflect.ValueOf(p).Elem(), false)
			data, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			got := reflect.New(reflect.TypeOf(p).Elem()).Interface()
			if err := json.Unmarshal(data, got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(p, got, addresses); diff != "" {
				t.Errorf("%T (-want +got):\n%s", p, diff)
			}
		}
	}
}

func TestMarshalledConfigHasDrivesAsFirecrackerDemands(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(valid())
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"boot-source":{"kernel_image_path":"vmlinux"},"drives":[]}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestYAMLIsReadable(t *testing.T) {
	t.Parallel()
	got, err := parse(t, string(read(t, "everything.json"))).MarshalYAML()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "everything-yaml.txt", string(got))
}

// references returns where v's pointers, maps and slices lead. What an address points
// to is shared by all, and never changes.
func references(v reflect.Value, path string, found map[uintptr]string) {
	if v.IsValid() && v.Type().PkgPath() == "net/netip" {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			references(v.Field(i), path+"."+v.Type().Field(i).Name, found)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			found[v.Pointer()] = path
			references(v.Elem(), path, found)
		}
	case reflect.Interface:
		references(v.Elem(), path, found)
	case reflect.Slice:
		for i := range v.Len() {
			found[v.Pointer()] = path
			references(v.Index(i), fmt.Sprintf("%s[%d]", path, i), found)
		}
	case reflect.Map:
		found[v.Pointer()] = path
		for key, value := range v.Seq2() {
			references(value, path+"."+key.String(), found)
		}
	default:
	}
}

func TestCloneIsEqualAndSharesNothing(t *testing.T) {
	t.Parallel()
	type own struct{ P *[]int }
	for seed := range uint64(50) {
		c := filled(seed, false)
		c.Metadata["own"] = own{P: &[]int{1, 2}}
		clone := c.Clone()
		if diff := cmp.Diff(c, clone, addresses); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		theirs, ours := map[uintptr]string{}, map[uintptr]string{}
		references(reflect.ValueOf(c), "Config", theirs)
		references(reflect.ValueOf(clone), "Config", ours)
		if len(ours) < 20 {
			t.Fatalf("found only %d references", len(ours))
		}
		for p, path := range ours {
			if other, shared := theirs[p]; shared {
				t.Errorf("%s of the clone is %s of the original", path, other)
			}
		}
	}
}

func TestCloneEndsOnMetadataThatHoldsItself(t *testing.T) {
	t.Parallel()
	c := valid()
	c.Metadata = firecracker.Metadata{}
	c.Metadata["self"] = c.Metadata
	if got := mistakes(t, c.Clone().Validate()); !strings.HasPrefix(got, "metadata: can't be written as JSON") {
		t.Errorf("got %q", got)
	}
}

// A path that the visitor misses would be wrong inside a jail.
func TestVisitPathsFindsAndReplacesEveryPath(t *testing.T) {
	t.Parallel()
	c := filled(3, false)
	c.CPUConfig = &vmconfig.CPUConfig{Path: "x"}
	seen := map[string]bool{}
	c.VisitPaths(func(p vmconfig.Path) string {
		if seen[p.Field] {
			t.Errorf("%s is visited twice", p.Field)
		}
		seen[p.Field] = true
		return "/new/" + p.Field
	})
	want := map[string]bool{"cpu-config": true}
	check(t, reflect.ValueOf(c).Elem(), "", want)
	if c.CPUConfig.Path != "/new/cpu-config" {
		t.Errorf("cpu-config is %q", c.CPUConfig.Path)
	}
	for field := range want {
		if !seen[field] {
			t.Errorf("%s is not visited", field)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("visited %v, want %v", seen, want)
	}
}

// check finds the paths by the names of their keys.
func check(t *testing.T, v reflect.Value, field string, want map[string]bool) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		check(t, v.Elem(), field, want)
	case reflect.Slice:
		for i := range v.Len() {
			check(t, v.Index(i), fmt.Sprintf("%s[%d]", field, i), want)
		}
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(v.Type()) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous || name == "-" {
				continue
			}
			inner := strings.TrimPrefix(field+"."+name, ".")
			value := v.FieldByIndex(f.Index)
			isPath := name == "socket" || strings.Contains(name, "path")
			if value.Kind() == reflect.String && isPath && value.String() != "" {
				want[inner] = true
				if value.String() != "/new/"+inner {
					t.Errorf("%s is %q", inner, value)
				}
			}
			check(t, value, inner, want)
		}
	default:
	}
}
