package main

import (
	"os"

	"github.com/smartvm/smartvm/internal/proc"
)

// namespace is a network namespace beside that of the process.
type namespace struct{ file *os.File }

func newNamespace() (*namespace, error) {
	file, err := proc.NewNetwork()
	if err != nil {
		return nil, err
	}
	return &namespace{file}, nil
}

func (n *namespace) close() error { return n.file.Close() }

// do runs f in the namespace. Sockets that it opens belong there for good.
func (n *namespace) do(f func() error) error {
	return proc.OnThread(func() error {
		if err := proc.EnterNetwork(n.file); err != nil {
			return err
		}
		return f()
	})
}
