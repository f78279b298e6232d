package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
)

// ensureBridge gives the node its address. Each step may have been done already.
func ensureBridge() error {
	if _, err := net.InterfaceByName(bridge); err != nil {
		if err := command("ip", "link", "add", bridge, "type", "bridge"); err != nil {
			return err
		}
	}
	if err := command("ip", "address", "replace", nodeIP+"/16", "dev", bridge); err != nil {
		return err
	}
	// With an Ethernet address of its own. Else the bridge has the lowest of its
	// links', and another one when a pod comes or goes: what pods send to the node is
	// lost then until they notice, after half a minute.
	if err := command("ip", "link", "set", bridge, "address", bridgeMAC, "up"); err != nil {
		return err
	}
	return os.WriteFile(ipForward, []byte("1"), 0o644)
}

const ipForward = "/proc/sys/net/ipv4/ip_forward"

func bridgeReady() error {
	link, err := net.InterfaceByName(bridge)
	if err != nil {
		return err
	}
	if link.Flags&net.FlagUp == 0 {
		return errors.New("it is down")
	}
	if forwards, err := os.ReadFile(ipForward); err != nil || string(bytes.TrimSpace(forwards)) == "0" {
		return fmt.Errorf("%s is off", ipForward)
	}
	addresses, err := link.Addrs()
	if err != nil {
		return err
	}
	for _, address := range addresses {
		if strings.HasPrefix(address.String(), nodeIP+"/") {
			return nil
		}
	}
	return fmt.Errorf("it has not the address %s", nodeIP)
}

// removeBridge removes the bridge, with the links of pods that a crash has left
// on it; routes go with them.
func removeBridge() error {
	if _, err := net.InterfaceByName(bridge); err != nil {
		return nil
	}
	links, err := linksOnBridge()
	if err != nil {
		return err
	}
	var failed []error
	for _, link := range append(links, bridge) {
		failed = append(failed, removeLink(link))
	}
	return errors.Join(failed...)
}

// removeLink may find that the link has gone, with the network namespace at its
// other end.
func removeLink(name string) error {
	err := command("ip", "link", "delete", name)
	if _, gone := net.InterfaceByName(name); gone != nil {
		return nil
	}
	return err
}

func linksOnBridge() ([]string, error) {
	output, err := exec.Command("ip", "-json", "link", "show", "master", bridge).Output()
	if err != nil {
		return nil, fmt.Errorf("list the links of %s: %w", bridge, err)
	}
	return linkNames(output)
}

func linkNames(list []byte) ([]string, error) {
	var links []struct {
		Name string `json:"ifname"`
	}
	if len(bytes.TrimSpace(list)) > 0 { // ip prints nothing at all for none
		if err := json.Unmarshal(list, &links); err != nil {
			return nil, err
		}
	}
	var names []string
	for _, link := range links {
		if link.Name != "" {
			names = append(names, link.Name)
		}
	}
	return names, nil
}

// command runs a program of the system; the error says what it said.
func command(name string, args ...string) error {
	output, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(output))
	}
	return nil
}
