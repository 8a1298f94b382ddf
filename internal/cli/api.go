package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

func (a *app) apiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "api get|put|patch|delete",
		Short: "Call the API of a VM's Firecracker",
		Long: `Call the API of a VM's Firecracker. The request is sent as it is and the answer
printed as it comes, indented on a terminal. The exit code is 1, with
Firecracker's words on standard error, when it refuses.`,
		Example: `  smartvm api get web /vm/config
  smartvm api patch web /balloon '{"amount_mib":64}'
  smartvm api put web /actions '{"action_type":"FlushMetrics"}'`,
		Args: a.noArgs,
		RunE: a.help,
	}
	cmd.AddCommand(
		a.apiVerb(http.MethodGet, 2, "Read from the API", "  smartvm api get web /\n  smartvm api get web /machine-config | jq .vcpu_count"),
		a.apiVerb(http.MethodPut, 3, "Send a PUT to the API", `  smartvm api put web /actions '{"action_type":"SendCtrlAltDel"}'
  smartvm api put web /mmds @metadata.json`),
		a.apiVerb(http.MethodPatch, 3, "Send a PATCH to the API", `  smartvm api patch web /vm '{"state":"Paused"}'
  echo '{"amount_mib":64}' | smartvm api patch web /balloon -`),
		a.apiVerb(http.MethodDelete, 2, "Send a DELETE to the API", "  smartvm api delete web /drives/data"),
	)
	return cmd
}

func (a *app) apiVerb(method string, most int, short, example string) *cobra.Command {
	use := strings.ToLower(method) + " NAME PATH"
	if most == 3 {
		use += " [JSON|@FILE|-]"
	}
	return &cobra.Command{
		Use: use, Short: short, Example: example,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := oneName(2, most)(cmd, args); err != nil {
				return err
			}
			if !strings.HasPrefix(args[1], "/") || strings.ContainsFunc(args[1], notInPath) {
				return fmt.Errorf("%q is not a path of the API: it begins with / and has no spaces", args[1])
			}
			return nil
		},
		ValidArgsFunction: a.completeNames(1),
		RunE: a.with(func(ctx context.Context, m *smartvm.Manager, args []string) error {
			return a.callAPI(ctx, m, method, args)
		}),
	}
}

func notInPath(r rune) bool { return r <= ' ' || r > '~' }

func (a *app) callAPI(ctx context.Context, m *smartvm.Manager, method string, args []string) error {
	var body any
	if len(args) == 3 {
		text, err := a.readArgument(args[2])
		if err != nil {
			return fmt.Errorf("read body: %w", err)
		}
		body = json.RawMessage(text)
	}
	vm, err := m.Attach(ctx, args[0])
	if err != nil {
		return err
	}
	client, err := vm.Client()
	if err != nil {
		return err
	}
	answer, err := send(ctx, client, method, args[1], body)
	if err != nil {
		return err
	}
	if answer.OK {
		return a.printAnswer(answer.Body)
	}
	return &smartvm.Error{
		Code: errcode.APIError, Op: "call firecracker", Subject: method + " " + args[1],
		StatusCode: answer.StatusCode, Err: errors.New(answer.Fault),
	}
}

func send(ctx context.Context, client *firecracker.Client, method, path string, body any) (*firecracker.Response, error) {
	switch method {
	case http.MethodPut:
		return client.Put(ctx, path, body)
	case http.MethodPatch:
		return client.Patch(ctx, path, body)
	case http.MethodDelete:
		return client.Delete(ctx, path)
	default:
		return client.Get(ctx, path)
	}
}

func (a *app) printAnswer(answer json.RawMessage) error {
	if len(answer) == 0 {
		return nil
	}
	var pretty bytes.Buffer
	if a.terminal && json.Indent(&pretty, answer, "", "  ") == nil {
		answer = pretty.Bytes()
	}
	return a.print(string(bytes.TrimRight(answer, "\n")) + "\n")
}
