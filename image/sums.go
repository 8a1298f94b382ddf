package image

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"
)

// parseSums reads what sha256sum writes: "<hash>  <name>" or "<hash> *<name>" on
// each line. The result is from the last element of a name to the hash in
// lower-case digits: "./name" in an archive is "name". A line that is anything
// else is an error, and so are two hashes for one name and no line at all.
func parseSums(data []byte) (map[string]string, error) {
	sums := make(map[string]string)
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		sum, name, ok := strings.Cut(line, " ")
		if !ok || len(name) < 2 || name[0] != ' ' && name[0] != '*' {
			return nil, fmt.Errorf("line %d is not a hash and a file name", n)
		}
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 {
			return nil, fmt.Errorf("line %d does not start with a SHA256", n)
		}
		sum, name = strings.ToLower(sum), path.Base(name[1:])
		if before, twice := sums[name]; twice && before != sum {
			return nil, fmt.Errorf("line %d has a second hash for %q", n, name)
		}
		sums[name] = sum
	}
	if len(sums) == 0 {
		return nil, errors.New("it has no hash")
	}
	return sums, nil
}
