package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	publicDatabase = "https://vuln.go.dev"
	patience       = 5 * time.Second // for the public database's first answer
	mirrorModule   = "golang.org/x/vulndb"
)

// database returns the URL of the vulnerability database to ask.
func database(ctx context.Context) (string, error) {
	if reachable(ctx) {
		return publicDatabase, nil
	}
	// The module has one OSV file per entry. govulncheck reads such a folder and
	// makes the index itself, so that which version fixes what stays its judgement.
	//nolint:forbidigo // a development tool, with no processes of the product
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", mirrorModule+"@latest").Output()
	if err != nil {
		return "", fmt.Errorf("%s can't be reached, and its copy %s not be downloaded: %w", publicDatabase, mirrorModule, err)
	}
	var module struct {
		Dir string `json:"Dir"`
	}
	if err := json.Unmarshal(out, &module); err != nil {
		return "", err
	}
	return (&url.URL{Scheme: "file", Path: filepath.Join(module.Dir, "data", "osv")}).String(), nil
}

func reachable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, publicDatabase+"/index/modules.json.gz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req) //nolint:forbidigo // the client that govulncheck uses too
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}
