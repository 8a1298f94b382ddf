package netconfig_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

func TestPublicKeyIsThatOfWg(t *testing.T) {
	t.Parallel()
	const want = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=" // as wg pubkey says
	if got := key(t, privateKey).Public(); got.PublicText() != want || got != key(t, want) {
		t.Errorf("got %s, want %s", got.PublicText(), want)
	}
}

func TestParseKeyRefusesWithoutShowing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "x", privateKey[1:], privateKey + "A", privateKey + privateKey, privateKey + "\n", " " + privateKey, strings.TrimSuffix(privateKey, "="),
		privateKey[:42] + "l=", // bits that are no part of the key
		base64.StdEncoding.EncodeToString(make([]byte, 31)), base64.StdEncoding.EncodeToString(make([]byte, 33)),
		base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 32)), strings.Repeat("A", 1<<20), "(redacted)", hex.EncodeToString(make([]byte, 32)),
	} {
		k, err := netconfig.ParseKey(text)
		if err == nil || !k.IsZero() {
			t.Errorf("%.60q: accepted", text)
		} else if len(text) > 3 && strings.Contains(err.Error(), text[:4]) {
			t.Errorf("%.60q: %v shows it", text, err)
		}
		kept := netconfig.Key{7}
		if err := kept.UnmarshalText([]byte(text)); err == nil || kept != (netconfig.Key{7}) {
			t.Errorf("%.60q: %v, changed = %t", text, err, kept != netconfig.Key{7})
		}
	}
	if got := key(t, privateKey); got.IsZero() || got.PublicText() != privateKey {
		t.Error("a key is not what was read")
	}
}

// shown returns v as everything that prints does.
func shown(tb testing.TB, v any) string {
	tb.Helper()
	var b strings.Builder
	for _, verb := range []string{"v", "+v", "#v", "s", "q", "x", "X", "d", "o", "b", "c", "U", "t", "e", "#x", "-50s", "T"} {
		fmt.Fprintf(&b, "%"+verb+"\n", v)
	}
	fmt.Fprintln(&b, fmt.Sprint(v), errors.New(fmt.Sprint("x", v)), fmt.Errorf("%v", v))
	for _, h := range []slog.Handler{slog.NewJSONHandler(&b, nil), slog.NewTextHandler(&b, nil)} {
		slog.New(h).Info("x", slog.Any("v", v))
	}
	text, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	b.Write(text)
	return b.String()
}

// secretsIn reports the form in which text has a part of a key, or "".
func secretsIn(text string, k netconfig.Key) string {
	const part = 10 // of the text of a key; nothing else has that by chance
	base := k.PublicText()
	for i := range len(base) - part {
		if strings.Contains(text, base[i:i+part]) {
			return "base64"
		}
	}
	var decimals, hexes []string
	for _, b := range k[:4] {
		decimals, hexes = append(decimals, fmt.Sprint(b)), append(hexes, fmt.Sprintf("%#x", b))
	}
	forms := []string{
		hex.EncodeToString(k[:6]), strings.ToUpper(hex.EncodeToString(k[:6])), string(k[:6]),
		strings.Join(decimals, " "), strings.Join(decimals, ","), strings.Join(decimals, ", "), strings.Join(hexes, ", "),
	}
	if i := slices.IndexFunc(forms, func(form string) bool { return strings.Contains(text, form) }); i >= 0 {
		return fmt.Sprintf("form %d", i)
	}
	return ""
}

func TestNothingThatPrintsShowsAKey(t *testing.T) {
	t.Parallel()
	k := key(t, privateKey)
	full := &netconfig.Tunnel{PrivateKey: k, Peers: []netconfig.Peer{{PublicKey: key(t, peerKey), PresharedKey: k}}}
	config := netconfig.Config{WireGuard: &netconfig.WireGuard{Tunnel: full}}
	for _, v := range []any{
		k, &k,
		[]netconfig.Key{k},
		[1]netconfig.Key{k},
		map[string]netconfig.Key{"k": k},
		map[netconfig.Key]int{k: 1},
		struct{ Key netconfig.Key }{k},
		full, *full, full.Peers, full.Peers[0], &full.Peers[0], config, &config, config.WireGuard, *config.WireGuard,
		struct{ T *netconfig.Tunnel }{full},
		struct{ P *netconfig.Peer }{&full.Peers[0]},
		struct{ K *netconfig.Key }{&k},
		[]*netconfig.Tunnel{full},
		map[string]*netconfig.Peer{"p": &full.Peers[0]},
		struct{ W *netconfig.WireGuard }{config.WireGuard},
		errors.Join(full.Validate(), config.Validate()),
	} {
		if form := secretsIn(shown(t, v), k); form != "" {
			t.Errorf("%T is shown as %s", v, form)
		}
	}
	for _, form := range []string{ // the test itself sees what it looks for
		k.PublicText(), fmt.Sprint([32]byte(k)), fmt.Sprintf("%#v", [32]byte(k)), fmt.Sprintf("%x", [32]byte(k)), fmt.Sprintf("%X", [32]byte(k)), string(k[:]),
	} {
		if secretsIn(form, k) == "" {
			t.Errorf("%q is not seen", form)
		}
	}
}

func FuzzParseWireGuard(f *testing.F) {
	// KEY stands for a private key, wherever the fuzzer puts it.
	for _, text := range []string{
		"", everything, file("", ""), "KEY", "[KEY]", "KEY = 1", "[Interface]\nKEY\n", "[Interface]\nPrivateKey KEY\n", "[Interface]\nPrivateKey = KEYKEY\n",
		"[Interface]\nAddress = KEY\nMTU = KEY\nListenPort = KEY\nFwMark = KEY\nDNS = KEY\nTable = KEY\nPostUp = x\nKEY = KEY\n[Peer]\nAllowedIPs = KEY\nEndpoint = KEY:1\nPersistentKeepalive=KEY\n",
		"[Interface]\nPrivateKey=KEY\nAddress=1.1.1.1,::1\nDNS=KEY\n[Peer]\nPublicKey=" + peerKey + "\nPresharedKey=KEY\nAllowedIPs=0.0.0.0/0,::/0\nEndpoint=a:1\n",
		"[Interface]\nPrivateKey=KEY\nAddress=1.1.1.1\n[Peer]\nPublicKey=KEY\nAllowedIPs=0.0.0.0/0\n",
		"[Interface]\nPrivateKey=KEY\nAddress=1.1.1.1\n[Peer]\nPublicKey=" + peerKey + "\nAllowedIPs=0.0.0.0/0\nEndpoint=[fe80::1%KEY]:1\n",
	} {
		f.Add(strings.ReplaceAll(text, privateKey, "KEY"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		secret := key(t, privateKey)
		got, warnings, err := netconfig.ParseWireGuard([]byte(strings.ReplaceAll(text, "KEY", privateKey)))
		if err != nil {
			if all := mistakes(t, err, errcode.InvalidWireGuardConfig) + shown(t, err); secretsIn(all, secret) != "" {
				t.Fatalf("a key is shown as %s: %s", secretsIn(all, secret), all)
			}
			return
		}
		if all := shown(t, got) + shown(t, warnings); !public(got, secret) && secretsIn(all, secret) != "" {
			t.Fatalf("a key is shown as %s: %s", secretsIn(all, secret), all)
		}
		if err := (&netconfig.Config{WireGuard: &netconfig.WireGuard{Tunnel: got}}).Validate(); err != nil {
			t.Error(err)
		}
		var again netconfig.Tunnel
		if data, err := json.Marshal(got); err != nil {
			t.Error(err)
		} else if err := json.Unmarshal(data, &again); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(withoutSecrets(got), &again, values); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// public reports whether the file says that the key is a public one.
func public(tunnel *netconfig.Tunnel, k netconfig.Key) bool {
	return slices.ContainsFunc(tunnel.Peers, func(p netconfig.Peer) bool { return p.PublicKey == k })
}

// withoutSecrets returns what is left of a tunnel as JSON.
func withoutSecrets(tunnel *netconfig.Tunnel) *netconfig.Tunnel {
	out := *tunnel
	out.PrivateKey = netconfig.Key{}
	out.Peers = slices.Clone(out.Peers)
	for i := range out.Peers {
		out.Peers[i].PresharedKey = netconfig.Key{}
	}
	return &out
}
