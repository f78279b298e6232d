package local

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// insideNetwork is set for the test that runs again in a network of its own.
const insideNetwork = "LONGTASK_TEST_NETWORK"

func TestBridgeAndFirewallAreRepaired(t *testing.T) {
	if os.Getenv(insideNetwork) == "" {
		again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		again.Env = append(os.Environ(), insideNetwork+"=1", "PATH="+systemPath)
		again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		for _, program := range []string{"ip", "iptables"} {
			if _, err := exec.LookPath(program); err != nil {
				t.Skip(err)
			}
		}
		output, err := again.CombinedOutput()
		if errors.Is(err, syscall.EPERM) {
			t.Skip("it takes root to make a network")
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		return
	}
	parts := map[string]struct{ ensure, ready func() error }{
		"bridge":   {ensureBridge, bridgeReady},
		"firewall": {ensureFirewall, firewallReady},
	}
	for name, part := range parts {
		if part.ready() == nil {
			t.Fatalf("%s is ready before it is made", name)
		}
		if err := part.ensure(); err != nil {
			t.Fatal(err)
		}
		if err := part.ready(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	damages := []struct {
		part    string
		command []string
	}{
		{"bridge", []string{"ip", "link", "set", bridge, "down"}},
		{"bridge", []string{"ip", "address", "flush", "dev", bridge}},
		{"bridge", []string{"sh", "-c", "echo 0 > " + ipForward}},
		{"bridge", []string{"ip", "link", "delete", bridge}},
		{"firewall", []string{"iptables", "-F", chainPrefix + "INPUT"}},
		{"firewall", []string{"iptables", "-F", "FORWARD"}},
		{"firewall", []string{"iptables", "-t", "nat", "-D", chainPrefix + "POSTROUTING", "1"}},
	}
	for _, damage := range damages {
		if err := command(damage.command[0], damage.command[1:]...); err != nil {
			t.Fatal(err)
		}
		part := parts[damage.part]
		if part.ready() == nil {
			t.Errorf("%q is not noticed", damage.command)
		}
		if err := part.ensure(); err != nil {
			t.Error(err)
		}
		if err := part.ready(); err != nil {
			t.Errorf("%q is not repaired: %v", damage.command, err)
		}
	}
}
