package local

import (
	"errors"
	"os/exec"
)

// chain is a chain of iptables rules of our own, and the built-in chain that
// jumps to it. Being chains, they are found and removed whole.
type chain struct {
	table, parent, name string
	rules               [][]string
}

var chains = []chain{
	// The API server is for this machine and its pods.
	{"filter", "INPUT", "LONGTASK-INPUT", [][]string{
		{"-i", "lo", "-j", "RETURN"},
		{"-i", bridge, "-j", "RETURN"},
		{"-p", "tcp", "--dport", apiPort, "-j", "REJECT"},
	}},
	// Docker, where it is, lets nothing through that it does not know.
	{"filter", "FORWARD", "LONGTASK-FORWARD", [][]string{
		{"-i", bridge, "-j", "ACCEPT"},
		{"-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"},
		{"-o", bridge, "-m", "conntrack", "--ctstate", "DNAT", "-j", "ACCEPT"},
	}},
	{"nat", "POSTROUTING", "LONGTASK-POSTROUTING", [][]string{
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

func firewallReady() bool {
	for _, c := range chains {
		if !c.linked() {
			return false
		}
	}
	return true
}

// ensure fills the chain before anything jumps to it.
func (c chain) ensure() error {
	if c.linked() {
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
	return c.iptables("-I", c.parent, "-j", c.name)
}

func (c chain) remove() error {
	for c.linked() {
		if err := c.iptables("-D", c.parent, "-j", c.name); err != nil {
			return err
		}
	}
	if !c.exists() {
		return nil
	}
	if err := c.iptables("-F", c.name); err != nil {
		return err
	}
	return c.iptables("-X", c.name)
}

func (c chain) exists() bool { return c.iptables("-n", "-L", c.name) == nil }
func (c chain) linked() bool { return c.exists() && c.iptables("-C", c.parent, "-j", c.name) == nil }

func (c chain) iptables(args ...string) error {
	return command("iptables", append([]string{"-w", "5", "-t", c.table}, args...)...)
}

func removeFirewall(kube string) error {
	failed := []error{removeProxyRules(kube)}
	for _, c := range chains {
		failed = append(failed, c.remove())
	}
	return errors.Join(failed...)
}

// removeProxyRules lets kube-proxy take back its own rules, when there are any.
func removeProxyRules(kube string) error {
	if exec.Command("iptables", "-w", "5", "-t", "nat", "-n", "-L", "KUBE-SERVICES").Run() != nil {
		return nil
	}
	return command(kube, "kube-proxy", "--cleanup")
}
