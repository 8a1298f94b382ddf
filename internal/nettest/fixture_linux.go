package nettest

import (
	"embed"
	"io"
	"path"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/proc"
)

//go:embed testdata
var texts embed.FS

// DockerLike makes of the namespace what Docker makes of a host: its bridge, its
// chains, and a policy of the forward chain that drops. The test needs the command
// iptables-nft-restore.
func (n *Namespace) DockerLike(tb testing.TB) {
	tb.Helper()
	if err := n.nl.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "docker0"}}); err != nil {
		tb.Fatal("add docker0: ", err)
	}
	n.AddAddr(tb, "docker0", "172.17.0.1/16")
	n.Up(tb, "docker0")
	n.SetSysctl(tb, "net/ipv4/ip_forward", "1")
	n.Load(tb, "docker.iptables")
}

// UfwLike makes of the namespace what ufw makes of a host: input and forward chains
// that drop by their policy. The test needs the command iptables-nft-restore.
func (n *Namespace) UfwLike(tb testing.TB) {
	tb.Helper()
	n.Load(tb, "ufw.iptables")
}

// FirewalldLike makes of the namespace what firewalld makes of a host: input and
// forward chains that reject at their ends what they don't know, in a table of its
// own. The test needs the command nft.
func (n *Namespace) FirewalldLike(tb testing.TB) {
	tb.Helper()
	n.Load(tb, "firewalld.nft")
}

// Load loads a rule set of this package's testdata: by nft if its name ends in .nft,
// and by iptables-nft-restore if it ends in .iptables. The test needs the command.
func (n *Namespace) Load(tb testing.TB, name string) {
	tb.Helper()
	text, err := texts.ReadFile("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	command := proc.Command{Input: func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}}
	if path.Ext(name) == ".nft" {
		command.Path, command.Args = hosttest.Path(tb, "nft"), []string{"-f", "-"}
	} else {
		command.Path = hosttest.Path(tb, "iptables-nft-restore")
	}
	// A process begins in the namespace of the thread that starts it.
	if err := n.Do(func() error { return proc.Run(tb.Context(), command) }); err != nil {
		tb.Fatalf("load %s: %v", name, err)
	}
}
