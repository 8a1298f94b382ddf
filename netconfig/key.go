package netconfig

import (
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

const redacted = "(redacted)"

// Key is a key of WireGuard. It never prints itself, in no format, since it may be a
// private or a preshared one: only [Key.PublicText] shows a key. Package fmt does not
// ask an unexported field how to print itself: keep keys in exported ones.
type Key [32]byte

// ParseKey reads a key in base64, as wg prints it. The error never has the text.
func ParseKey(text string) (Key, error) {
	var k Key
	if len(text) != base64.StdEncoding.EncodedLen(len(k)) { // the decoder skips the ends of lines
		return Key{}, errKey
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(k) {
		return Key{}, errKey
	}
	return Key(raw), nil
}

var errKey = errors.New("is not a key: want 32 bytes in base64, 44 characters")

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k == Key{} }

// Public returns the public key of a private one.
func (k Key) Public() Key {
	private, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		return Key{} // not reached: it has the right length
	}
	return Key(private.PublicKey().Bytes())
}

// PublicText returns a public key in base64. Never call it on a private or a preshared
// key: it returns that as well.
func (k Key) PublicText() string { return base64.StdEncoding.EncodeToString(k[:]) }

// String returns "(redacted)".
func (Key) String() string { return redacted }

// Format prints "(redacted)" for every verb, those that show bytes included.
func (Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// MarshalText returns "(redacted)". A peer's public key is written by
// [Peer.MarshalJSON].
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText reads a key as [ParseKey] does.
func (k *Key) UnmarshalText(text []byte) error {
	parsed, err := ParseKey(string(text))
	if err == nil {
		*k = parsed
	}
	return err
}
