package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// cniCache is where the runtime's network library notes what it attached. It
// cannot be told another place.
const cniCache = "/var/lib/cni/results"

// cniPlugins finds the plugins: Debian's package has one place, everyone else's
// another.
func cniPlugins() (string, error) {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("the CNI plugins are missing: install containernetworking-plugins")
}

// cniFile connects every pod to the bridge, which is its way out. What
// leaves the machine is masqueraded by our own firewall rules: the plugin would
// make a chain for every pod.
func cniFile() (file, error) {
	config := map[string]any{
		"cniVersion": "1.0.0",
		"name":       network,
		"plugins": []any{map[string]any{
			"type": "bridge", "bridge": bridge, "isGateway": true, "hairpinMode": true,
			"ipam": map[string]any{
				"type":    "host-local",
				"dataDir": runPath("addresses"),
				"ranges":  [][]map[string]string{{{"subnet": podCIDR, "rangeStart": firstPodIP, "gateway": nodeIP}}},
				"routes":  []map[string]string{{"dst": "0.0.0.0/0"}},
			},
		}},
	}
	text, err := json.MarshalIndent(config, "", "  ")
	return file{statePath("cni", "10-"+network+".conflist"), text, 0o644}, err
}

// sweepCNICache removes the notes about attachments that are gone: those that
// name a network namespace of ours.
func sweepCNICache(dir string) error {
	notes, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	var failed []error
	for _, note := range notes {
		if text, err := os.ReadFile(note); err == nil && bytes.Contains(text, []byte(runDir+"/")) {
			failed = append(failed, os.Remove(note))
		}
	}
	return errors.Join(failed...)
}
