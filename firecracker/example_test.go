package firecracker_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// A raw call returns what Firecracker says, be it a refusal.
func ExampleClient_Get() {
	client := firecracker.NewClient("/run/firecracker.socket", firecracker.ClientOptions{})
	defer client.Close()

	answer, err := client.Get(context.Background(), "/balloon")
	if err != nil {
		fmt.Println("no answer:", err)
		return
	}
	fmt.Println(answer.StatusCode, answer.OK, string(answer.Body))
}

// A typed call checks the version first and turns a refusal into an error.
func ExampleClient_PutPmem() {
	client := firecracker.NewClient("/run/firecracker.socket", firecracker.ClientOptions{})
	defer client.Close()

	err := client.PutPmem(context.Background(), firecracker.Pmem{ID: "data", PathOnHost: "/srv/data.img"})
	switch {
	case errors.Is(err, errcode.UnsupportedVersion):
		fmt.Println("nothing was sent:", err)
	case errors.Is(err, errcode.APIError):
		fmt.Println("refused:", err)
	}
}
