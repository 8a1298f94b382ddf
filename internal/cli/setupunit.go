package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/smartvm/smartvm/pool"
)

// unitText is a unit of systemd: what is made lasts until the host's next start, as the
// unit's being active does. It comes after programs that replace the host's firewall.
const unitText = `# Written by smartvm setup --unit.
[Unit]
Description=Networks for the VMs of user %s
After=network.target nftables.service firewalld.service ufw.service docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=%s

[Install]
WantedBy=multi-user.target
`

func (a *app) printUnit(f *setupFlags, user pool.User) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	words := []string{self, "setup", "--user", f.user}
	if f.taps > 0 {
		words = append(words, "--taps", f.taps.String())
	}
	if f.subnet != "" {
		words = append(words, "--subnet", f.subnet)
	}
	if f.egress != "" {
		path, err := filepath.Abs(f.egress)
		if err != nil {
			return err
		}
		words = append(words, "--egress", path)
	}
	for _, rule := range f.rules {
		flag := "--" + string(rule.Action)
		rule.Action = "" // so that its text is what a flag takes
		words = append(words, flag, rule.String())
	}
	for i, word := range words {
		words[i] = unitWord(word)
	}
	return a.print(fmt.Sprintf(unitText, strings.ReplaceAll(user.Name, "%", "%%"), strings.Join(words, " ")))
}

// unitWord quotes a word of a command line for systemd (systemd.service(5), systemd.syntax(7)).
func unitWord(word string) string {
	word = strings.NewReplacer(`%`, `%%`, `$`, `$$`, `\`, `\\`, `"`, `\"`).Replace(word)
	if word == "" || strings.ContainsAny(word, " \t'\";") || strings.Contains(word, `\`) {
		return `"` + word + `"`
	}
	return word
}
