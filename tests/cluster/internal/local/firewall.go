package local

import (
	"fmt"
	"os/exec"
	"strings"
)

// chain is a chain of iptables rules of our own, and the built-in chain that
// jumps to it. Being chains, they are found and removed whole.
type chain struct {
	table, parent, name string
	rules               [][]string
}

var chains = []chain{
	// The API server is for this machine and its pods.
	{"filter", "INPUT", chainPrefix + "INPUT", [][]string{
		{"-i", "lo", "-j", "RETURN"},
		{"-i", bridge, "-j", "RETURN"},
		{"-p", "tcp", "--dport", apiPort, "-j", "REJECT"},
	}},
	// Docker, where it is, lets nothing through that it does not know.
	{"filter", "FORWARD", chainPrefix + "FORWARD", [][]string{
		{"-i", bridge, "-j", "ACCEPT"},
		{"-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"},
		{"-o", bridge, "-m", "conntrack", "--ctstate", "DNAT", "-j", "ACCEPT"},
	}},
	{"nat", "POSTROUTING", chainPrefix + "POSTROUTING", [][]string{
		{"-s", podCIDR, "!", "-d", podCIDR, "-j", "MASQUERADE"},
	}},
}

func ensureFirewall() error {
	for _, c := range chains {
		if err := c.ensure(); err != nil {
			return err
		}
	}
	return nil
}

func firewallReady() error {
	for _, c := range chains {
		if err := c.ready(); err != nil {
			return err
		}
	}
	return nil
}

// ensure fills the chain before anything jumps to it.
func (c chain) ensure() error {
	if c.ready() == nil {
		return nil
	}
	if !c.exists() {
		if err := c.iptables("-N", c.name); err != nil {
			return err
		}
	}
	if err := c.iptables("-F", c.name); err != nil {
		return err
	}
	for _, rule := range c.rules {
		if err := c.iptables(append([]string{"-A", c.name}, rule...)...); err != nil {
			return err
		}
	}
	if c.linked() == nil {
		return nil
	}
	return c.iptables("-I", c.parent, "-j", c.name)
}

// ready says which rule is not there: a chain is still a chain when it has been
// emptied.
func (c chain) ready() error {
	for _, rule := range c.rules {
		if err := c.iptables(append([]string{"-C", c.name}, rule...)...); err != nil {
			return err
		}
	}
	return c.linked()
}

func (c chain) exists() bool  { return c.iptables("-n", "-L", c.name) == nil }
func (c chain) linked() error { return c.iptables("-C", c.parent, "-j", c.name) }

func (c chain) iptables(args ...string) error {
	return command("iptables", append([]string{"-w", "5", "-t", c.table}, args...)...)
}

// removeFirewall removes our chains and those that kube-proxy leaves behind.
func removeFirewall() error {
	rules, err := exec.Command("iptables-save").Output()
	if err != nil {
		return fmt.Errorf("read the firewall's rules: %w", err)
	}
	script := removalScript(string(rules))
	if script == "" {
		return nil
	}
	restore := exec.Command("iptables-restore", "--noflush", "--wait", "5")
	restore.Stdin = strings.NewReader(script)
	if output, err := restore.CombinedOutput(); err != nil {
		return fmt.Errorf("iptables-restore: %w: %s", err, output)
	}
	return nil
}

// removalScript turns what iptables-save printed into what makes
// iptables-restore remove our chains, kube-proxy's, and the rules of other chains
// that jump there. Without a chain of ours, kube-proxy's are another cluster's.
func removalScript(saved string) string {
	if !strings.Contains(saved, ":"+chainPrefix) {
		return ""
	}
	var script strings.Builder
	var table string
	var jumps, flushes, deletions []string
	for line := range strings.Lines(saved) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table, jumps, flushes, deletions = line, nil, nil, nil
		case strings.HasPrefix(line, ":") && removable(line[1:]):
			name, _, _ := strings.Cut(line[1:], " ")
			flushes = append(flushes, ":"+name+" - [0:0]") // declaring a chain again empties it
			deletions = append(deletions, "-X "+name)
		case strings.HasPrefix(line, "-A ") && !removable(line[len("-A "):]) && jumpsToRemovable(line):
			jumps = append(jumps, "-D "+line[len("-A "):])
		case line == "COMMIT" && len(deletions) > 0:
			for _, part := range [][]string{{table}, flushes, jumps, deletions, {line}} {
				script.WriteString(strings.Join(part, "\n") + "\n")
			}
		}
	}
	return script.String()
}

// chainPrefix begins the names of our own chains.
const chainPrefix = "LONGTASK-"

func removable(chain string) bool {
	return strings.HasPrefix(chain, chainPrefix) || strings.HasPrefix(chain, "KUBE-")
}

func jumpsToRemovable(rule string) bool {
	_, target, found := strings.Cut(rule, " -j ")
	return found && removable(target)
}
