package cli

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/pool"
)

// checkRights looks at what TAPs, bridges and firewalls need: the capability to make
// them, or a pool that root has made for this user.
func (a *app) checkRights() (f finding, permitted bool) {
	const check = "network rights"
	permitted, err := netlinux.Permitted()
	switch {
	case err != nil:
		return failed(check, err), false
	case permitted:
		return finding{Check: check, Status: fine, Found: "CAP_NET_ADMIN"}, true
	case os.Geteuid() == 0:
		return finding{check, warning, "CAP_NET_ADMIN is missing", "give it to this container, or use TAP devices that an administrator has made (--tap)"}, false
	}
	user := pool.Current()
	p, err := pool.Open(a.poolOptions(), user)
	if errors.Is(err, errcode.NotPermitted) {
		return finding{check, warning, "CAP_NET_ADMIN is missing, and there are no TAP devices for user " + user.Name, user.Command()}, false
	}
	if err != nil {
		return failed(check, err), false
	}
	status, err := p.Status()
	if err != nil {
		return failed(check, err), false
	}
	f = finding{Check: check, Status: fine, Found: fmt.Sprintf("%d TAP devices for user %s on %s, %v; %d in use", len(p.TAPs), user.Name, p.Bridge, p.Subnet, status.Used)}
	if status.Missing > 0 {
		f.Status, f.Found, f.Fix = warning, fmt.Sprintf("%s; %d are not there", f.Found, status.Missing), user.Command()
	}
	return f, false
}

// checkPools compares the networks of users with what they are planned to be.
func (a *app) checkPools(ctx context.Context) finding {
	const check = "pools of users"
	pools, err := pool.List(a.poolOptions())
	if err != nil {
		return failed(check, err)
	}
	for i := range pools {
		faults, err := pools[i].Check(ctx, a.poolOptions())
		if err != nil {
			return failed(check, err)
		}
		if len(faults) > 0 {
			return finding{check, warning, pools[i].Bridge + ": " + faults[0].What + ": " + faults[0].Effect, faults[0].Fix}
		}
	}
	return finding{Check: check, Status: fine, Found: fmt.Sprintf("%d, as planned", len(pools))}
}

func checkTUN() finding {
	const check, path = "tap devices", "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		fix := "modprobe tun; guests without a network need none"
		if errors.Is(err, fs.ErrPermission) {
			fix = pool.Current().Command()
		}
		return finding{check, warning, fmt.Sprintf("%s can't be opened: %v", path, err), fix}
	}
	if err := unix.Close(fd); err != nil {
		return failed(check, err)
	}
	return finding{Check: check, Status: fine, Found: path}
}

func checkNFTables() finding {
	const check = "firewall"
	err := askNFTables()
	switch {
	case errors.Is(err, unix.EPERM):
		return finding{check, warning, "nf_tables may not be used", "run as root to make networks"}
	case err != nil:
		return finding{check, warning, fmt.Sprintf("nf_tables does not answer: %v", err), "modprobe nf_tables; it is needed for networks that smartvm makes"}
	}
	return finding{Check: check, Status: fine, Found: "nf_tables"}
}

// askNFTables asks for the generation of the rule set, which changes nothing:
// NFT_MSG_GETGEN of linux/netfilter/nf_tables.h.
func askNFTables() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return err
	}
	const length = unix.SizeofNlMsghdr + 4 // with a struct nfgenmsg of zeros
	request := make([]byte, length)
	binary.NativeEndian.PutUint32(request, length)
	binary.NativeEndian.PutUint16(request[4:], unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 {
		return errors.New("short answer")
	}
	if binary.NativeEndian.Uint16(answer[4:]) == unix.NLMSG_ERROR {
		return unix.Errno(-int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])))
	}
	return nil
}

// checkNetworks compares the networks that are up with what they are planned to be: a
// firewall that was loaded anew cuts guests off without a word.
func checkNetworks(ctx context.Context, m *smartvm.Manager) []finding {
	const check = "networks"
	networks, err := hostnet.List(ctx, m.RuntimeDir())
	if err != nil {
		return []finding{failed(check, err)}
	}
	var findings []finding
	for i := range networks {
		faults, err := checkNetwork(ctx, m.RuntimeDir(), networks[i].Bridge)
		if errors.Is(err, errcode.NotPermitted) {
			return []finding{{check, warning, fmt.Sprintf("%d, which only root may look at", len(networks)), "run it as root"}}
		}
		if err != nil {
			findings = append(findings, failed(check, err))
		}
		for _, f := range faults {
			findings = append(findings, finding{check, warning, networks[i].Bridge + ": " + f.What + ": " + f.Effect, f.Fix})
		}
	}
	if len(findings) == 0 {
		return []finding{{Check: check, Status: fine, Found: fmt.Sprintf("%d, as planned", len(networks))}}
	}
	return findings
}

func checkNetwork(ctx context.Context, dir, bridge string) (faults []hostnet.Fault, err error) {
	n, err := hostnet.New(hostnet.Options{Dir: dir, Config: netconfig.Config{Bridge: bridge}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Close()) }() //nolint:contextcheck // a Close has none, and bounds its waits itself
	return n.Check(ctx)
}

// checkBarriers tells of firewalls that drop what they do not know, guests' traffic
// included: networks get accept rules there when they are made.
func checkBarriers(ctx context.Context) finding {
	const check = "other firewalls"
	barriers, legacy, err := hostnet.Barriers(ctx)
	switch {
	case errors.Is(err, errcode.NotPermitted):
		return finding{check, warning, "only root may look at them", "run it as root"}
	case err != nil:
		return failed(check, err)
	case legacy:
		return finding{
			check, warning, "the old iptables has rules, which smartvm can't see",
			"if guests reach nothing: iptables-legacy -I FORWARD -i " + netconfig.DefaultBridge + " -j ACCEPT; iptables-legacy -I FORWARD -o " + netconfig.DefaultBridge + " -j ACCEPT",
		}
	case len(barriers) == 0:
		return finding{Check: check, Status: fine, Found: "none that drops forwarded traffic"}
	}
	names := make([]string, len(barriers))
	for i, b := range barriers {
		names[i] = b.String()
	}
	return finding{Check: check, Status: fine, Found: strings.Join(names, "; ") + ": networks add accept rules there"}
}
