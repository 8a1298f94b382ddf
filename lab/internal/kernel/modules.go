package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Modules knows the modules below a directory by what they say about themselves,
// as depmod does.
type Modules struct {
	dir   string
	known map[string]module // by name, with _ for -
}

type module struct {
	path    string // below the directory
	depends []string
	aliases []string
}

// suffix of modules that are not compressed.
const suffix = ".ko"

// ReadModules looks at all modules below dir.
func ReadModules(dir string) (*Modules, error) {
	m := &Modules{dir, make(map[string]module)}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || !strings.HasSuffix(path, suffix) {
			return err
		}
		found, err := readModule(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if found.path, err = filepath.Rel(dir, path); err != nil {
			return err
		}
		m.known[ModuleName(path)] = found
		return nil
	})
	if err == nil && len(m.known) == 0 {
		err = errors.New("there are no modules that are not compressed in " + dir)
	}
	return m, err
}

// ModuleName is the name of the module in a file.
func ModuleName(path string) string {
	return plainName(strings.TrimSuffix(filepath.Base(path), suffix))
}

// plainName is how the kernel writes the name of a module.
func plainName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// readModule reads .modinfo: strings such as "depends=virtio,virtio_ring".
func readModule(path string) (module, error) {
	file, err := elf.Open(path)
	if err != nil {
		return module{}, err
	}
	defer file.Close()
	section := file.Section(".modinfo")
	if section == nil {
		return module{}, errors.New("it has no .modinfo")
	}
	data, err := section.Data()
	if err != nil {
		return module{}, err
	}
	var m module
	for text := range bytes.SplitSeq(data, []byte{0}) {
		key, value, _ := strings.Cut(string(text), "=")
		switch {
		case key == "alias":
			m.aliases = append(m.aliases, value)
		case key == "depends" && value != "":
			m.depends = strings.Split(plainName(value), ",")
		}
	}
	return m, nil
}

// Order returns the paths of modules below the directory, and of all that they
// depend on, each after those that it depends on.
func (m *Modules) Order(names ...string) ([]string, error) {
	var (
		order []string
		visit func(name string) error
		seen  = make(map[string]bool)
	)
	visit = func(name string) error {
		name = plainName(name)
		if seen[name] {
			return nil
		}
		seen[name] = true
		found, ok := m.known[name]
		if !ok {
			return errors.New("there is no module " + name)
		}
		for _, other := range found.depends {
			if err := visit(other); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		order = append(order, found.path)
		return nil
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// WriteIndexes writes what modprobe reads: modules.dep, modules.alias and the
// device nodes whose use loads a module, modules.devname.
func (m *Modules) WriteIndexes() error {
	var dep, alias, devname bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(m.known)) {
		found := m.known[name]
		order, err := m.Order(name)
		if err != nil {
			return err
		}
		slices.Reverse(order) // modprobe wants the nearest first
		fmt.Fprintf(&dep, "%s: %s\n", found.path, strings.Join(order[1:], " "))
		for _, a := range found.aliases {
			if node, ok := strings.CutPrefix(a, "devname:"); ok {
				if number := deviceNumber(found.aliases); number != "" {
					fmt.Fprintf(&devname, "%s %s %s\n", name, node, number)
				}
				continue
			}
			fmt.Fprintf(&alias, "alias %s %s\n", a, name)
		}
	}
	for file, text := range map[string][]byte{"modules.dep": dep.Bytes(), "modules.alias": alias.Bytes(), "modules.devname": devname.Bytes()} {
		if err := os.WriteFile(filepath.Join(m.dir, file), text, 0o644); err != nil { //nolint:gosec // nothing in it is a secret
			return err
		}
	}
	return nil
}

// deviceNumber returns "c10:200" for a module with the alias char-major-10-200.
func deviceNumber(aliases []string) string {
	for _, a := range aliases {
		number, ok := strings.CutPrefix(a, "char-major-")
		major, minor, both := strings.Cut(number, "-")
		if ok && both && minor != "*" {
			return "c" + major + ":" + minor
		}
	}
	return ""
}

// The end of a signed module (include/linux/module_signature.h of Linux): the
// signature, twelve bytes of which the last four are its size, and a line.
const (
	signedLine   = "~Module signature appended~\n"
	signedHeader = 12
)

// Unsigned returns a module without its signature. In an emulated machine the
// check of one costs more than all else about loading it.
func Unsigned(data []byte) []byte {
	body, ok := bytes.CutSuffix(data, []byte(signedLine))
	if !ok || len(body) < signedHeader {
		return data
	}
	size := int(binary.BigEndian.Uint32(body[len(body)-4:]))
	if size > len(body)-signedHeader {
		return data
	}
	return body[:len(body)-signedHeader-size]
}
