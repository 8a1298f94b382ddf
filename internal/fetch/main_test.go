package fetch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/fetch"
)

// childVar makes the test binary a program that downloads one file: it is a
// [job] in JSON.
const childVar = "FETCH_TEST_JOB"

// job is what a child does.
type job struct {
	URL    string `json:"url"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	Dir    string `json:"dir"`
	Name   string `json:"name"`
}

func TestMain(m *testing.M) {
	text := os.Getenv(childVar)
	if text == "" {
		os.Exit(m.Run())
	}
	code := 0
	if err := work(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	unix.Exit(code) // os.Exit sleeps for a second in a program built with -race
}

// work does the job and prints hash and ETag.
func work(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	dir, err := os.OpenRoot(j.Dir)
	if err != nil {
		return err
	}
	options := quick
	options.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	result, err := fetch.New(options).File(context.Background(), fetch.Source{URL: j.URL, SHA256: j.SHA256, Size: j.Size}, dir, j.Name)
	if err != nil {
		return err
	}
	_, err = fmt.Print(result.SHA256, " ", result.ETag)
	return err
}
