// Smartvm boots and controls Firecracker microVMs; see smartvm --help.
package main

import (
	"context"
	"os"

	"github.com/smartvm/smartvm/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
