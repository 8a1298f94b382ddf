package netlinux

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
)

const (
	resolvConf = "/etc/resolv.conf"
	// resolvedConf has what systemd-resolved asks, where resolvConf names only
	// itself (systemd-resolved.service(8)).
	resolvedConf = "/run/systemd/resolve/resolv.conf"
	// resolvSize is the most that is read of such a file, in bytes.
	resolvSize = 64 << 10
	// maxResolvers is how many resolvers a resolv.conf can have; the C library
	// ignores further ones (MAXNS of resolv.h).
	maxResolvers = 3
)

// resolvers returns those of the host that guests can reach too: of the first
// file that has any. Own are the addresses of the host.
func resolvers(own []netip.Addr, paths ...string) ([]netip.Addr, error) {
	for _, path := range paths {
		text, err := readHead(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if found := reachable(parseResolvers(text), own); len(found) > 0 {
			return found, nil
		}
	}
	return nil, nil
}

func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, resolvSize))
}

// parseResolvers returns the IPv4 resolvers of a resolv.conf, loopback ones too,
// as resolv.conf(5) has them. What it does not understand it ignores, as everybody does.
func parseResolvers(text []byte) []netip.Addr {
	var found []netip.Addr
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) < 2 || string(fields[0]) != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(string(fields[1]))
		if err == nil && addr.Unmap().Is4() && !slices.Contains(found, addr.Unmap()) {
			found = append(found, addr.Unmap())
		}
	}
	return found
}

// reachable drops the resolvers that are services of the host itself. 0.0.0.0 is
// one: the C library takes it for the host.
func reachable(resolvers, own []netip.Addr) []netip.Addr {
	resolvers = slices.DeleteFunc(resolvers, func(a netip.Addr) bool {
		return a.IsLoopback() || a.IsUnspecified() || slices.Contains(own, a)
	})
	return resolvers[:min(len(resolvers), maxResolvers)]
}
