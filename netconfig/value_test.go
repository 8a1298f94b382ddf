package netconfig_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/netconfig"
)

// fill sets every field that v has, at any depth, to a random value; sparse leaves some
// of them out.
func fill(r *rand.Rand, v reflect.Value, sparse bool) {
	if sparse && v.Kind() != reflect.Struct && r.IntN(3) == 0 {
		return
	}
	bits := byte(r.IntN(256))
	switch p := v.Addr().Interface().(type) {
	case *netip.Addr:
		*p = netip.AddrFrom4([4]byte{10, bits, 0, 1})
		return
	case *netip.Prefix:
		*p = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, bits, 0, 1}), r.IntN(33)) // host bits stay
		return
	case *netconfig.Destination:
		p.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, bits, 0, 0}), 1+r.IntN(32)).Masked()
		return
	case *netconfig.PortRange:
		p.First = 1 + uint16(bits)
		p.Last = p.First + uint16(r.IntN(2))
		return
	case *netconfig.Key:
		*p = netconfig.Key{bits, 1}
		return
	case *netconfig.Action:
		*p = []netconfig.Action{"", netconfig.Allow, netconfig.Deny}[r.IntN(3)]
		return
	case *netconfig.Protocol:
		*p = []netconfig.Protocol{"", netconfig.All, netconfig.TCP, netconfig.UDP, netconfig.ICMP}[r.IntN(5)]
		return
	case *time.Duration:
		*p = time.Duration(bits) * time.Second
		return
	}
	switch v.Kind() {
	case reflect.Struct:
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
			fill(r, v.Index(i), sparse && v.Type().Elem().Kind() == reflect.Struct)
		}
	case reflect.String:
		v.SetString([]string{"", "a<b>&c", "é\n", "\u2028"}[r.IntN(4)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(r.Uint64() >> (64 - v.Type().Bits()))
	case reflect.Int:
		v.SetInt(r.Int64() - r.Int64())
	default:
		panic("a network has a kind that nobody knows: " + v.Kind().String())
	}
}

func filled[T any](seed uint64, sparse bool) *T {
	out := new(T)
	fill(rand.New(rand.NewPCG(seed, 0)), reflect.ValueOf(out).Elem(), sparse)
	return out
}

func roundTrip[T any](t *testing.T) {
	t.Helper()
	for seed := range uint64(100) {
		want, got := filled[T](seed, seed%2 == 0), new(T)
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, got); err != nil {
			t.Fatalf("%T, seed %d: %v\nin\n%s", want, seed, err, text)
		}
		if diff := cmp.Diff(want, got, values, emptyIsNil); diff != "" {
			t.Fatalf("%T, seed %d (-want +got):\n%s\nin\n%s", want, seed, diff, text)
		}
	}
}

func TestEveryValueRoundTripsThroughJSON(t *testing.T) {
	t.Parallel()
	roundTrip[netconfig.Config](t)
	roundTrip[netconfig.HostPort](t)
	roundTrip[netconfig.Policy](t)
	roundTrip[netconfig.Rule](t)
	roundTrip[netconfig.Destination](t)
	roundTrip[netconfig.PortRange](t)
	roundTrip[netconfig.Action](t)
	roundTrip[netconfig.Protocol](t)
	roundTrip[netconfig.Decision](t)
	roundTrip[netconfig.Forward](t)
	roundTrip[netconfig.WireGuard](t)
	roundTrip[netconfig.Tunnel](t)
	roundTrip[netconfig.Peer](t)
}

func TestSecretsAreNoPartOfAFile(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(netconfig.Tunnel{PrivateKey: netconfig.Key{1}, Peers: []netconfig.Peer{{PublicKey: key(t, peerKey), PresharedKey: netconfig.Key{2}}}})
	want := `{"addresses":null,"peers":[{"public_key":"` + peerKey + `","allowed_ips":null}]}`
	if err != nil || string(text) != want {
		t.Errorf("got %s, %v, want %s", text, err, want)
	}
}

// memory returns where the slices and pointers of v are.
func memory(v reflect.Value, path string, found map[uintptr]string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			found[v.Pointer()] = path
			memory(v.Elem(), path, found)
		}
	case reflect.Slice:
		if v.Len() > 0 {
			found[v.Pointer()] = path
		}
		for i := range v.Len() {
			memory(v.Index(i), path+"[]", found)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				memory(v.Field(i), path+"."+f.Name, found)
			}
		}
	default:
	}
}

func TestCloneSharesNothing(t *testing.T) {
	t.Parallel()
	c := filled[netconfig.Config](1, false)
	before := map[uintptr]string{}
	memory(reflect.ValueOf(c), "", before)
	if len(before) < 10 { // the config, its lists and those in them
		t.Fatalf("only %v", before)
	}
	for name, copied := range map[string]*netconfig.Config{"Clone": c.Clone(), "WithDefaults": c.WithDefaults()} {
		after := map[uintptr]string{}
		memory(reflect.ValueOf(copied), "", after)
		for where := range after {
			if path, shared := before[where]; shared {
				t.Errorf("%s shares %s", name, path)
			}
		}
	}
	if diff := cmp.Diff(c, c.Clone(), values); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
