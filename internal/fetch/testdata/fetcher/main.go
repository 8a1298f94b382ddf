// Command fetcher downloads one file, for the test that kills it at every point:
// fetcher DIRECTORY NAME URL SHA256.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/smartvm/smartvm/internal/fetch"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	dir, err := os.OpenRoot(args[0])
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = fetch.New(fetch.Options{}).File(context.Background(), fetch.Source{URL: args[2], SHA256: args[3]}, dir, args[1])
	return err
}
