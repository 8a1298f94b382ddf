package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
)

// exchange sends one request to a VM's Firecracker as it is.
func exchange(ctx context.Context, vm *smartvm.VM, method, path string, body []byte) (status int, answer []byte, err error) {
	if _, err := vm.Client(); err != nil {
		return 0, nil, err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", vm.SocketPath())
		},
		DisableKeepAlives: true,
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, nil, transportError(vm, err)
	}
	answer, err = io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return 0, nil, transportError(vm, err)
	}
	return response.StatusCode, answer, nil
}

func transportError(vm *smartvm.VM, err error) error {
	return &smartvm.Error{Code: errcode.SocketRequestFailed, Op: "call firecracker", Subject: vm.ID(), Err: err}
}

// faultIn returns why Firecracker refused, in its words.
func faultIn(answer []byte) string {
	var fault struct {
		Message string `json:"fault_message"`
	}
	if json.Unmarshal(answer, &fault) == nil && fault.Message != "" {
		return strings.TrimSpace(fault.Message)
	}
	return cmp.Or(strings.TrimSpace(string(answer)), "it gave no reason")
}
