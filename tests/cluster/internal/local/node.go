package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/yaml"
)

func kubelet(kube string) component {
	return component{
		name: "kubelet",
		argv: []string{kube, "kubelet", "--kubeconfig=" + kubeconfigFile("node"), "--config=" + statePath("kubelet.yaml"),
			"--hostname-override=" + nodeName, "--node-ip=" + nodeIP, "--root-dir=" + statePath("kubelet")},
		listen: []string{nodeIP + ":10250", "127.0.0.1:10248"},
		ready:  func(ctx context.Context) error { return probe(ctx, "http://127.0.0.1:10248/healthz") },
		grace:  10 * time.Second,
	}
}

func kubeletFile() (file, error) {
	config := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"address":    nodeIP,
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": pkiFile("ca.crt")},
		},
		"authorization":            map[string]any{"mode": "Webhook"},
		"tlsCertFile":              pkiFile("node.crt"),
		"tlsPrivateKeyFile":        pkiFile("node.key"),
		"containerRuntimeEndpoint": "unix://" + containerdSocket,
		"podLogsDir":               statePath("pod-logs"),
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               "/" + cgroup,
		// Version 1 of cgroups is refused by default, and all that some machines have.
		"failCgroupV1": false,
		"failSwapOn":   false,
		"maxPods":      250,
		// There is no DNS in the cluster, and pods have no use for the machine's.
		"resolvConf": "",
		// Images cannot be pulled again, and a full disk is no reason to evict tests.
		"imageGCHighThresholdPercent": 100,
		"evictionHard":                map[string]string{"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
		// Its chains serve other runtimes; kube-proxy makes all that are needed.
		"makeIPTablesUtilChains": false,
	}
	text, err := yaml.Marshal(config)
	return file{statePath("kubelet.yaml"), text, 0o644}, err
}

func kubeProxy(kube string) component {
	return component{
		name: "kube-proxy",
		argv: []string{kube, "kube-proxy", "--kubeconfig=" + kubeconfigFile("proxy"), "--hostname-override=" + nodeName,
			"--healthz-bind-address=127.0.0.1:10256", "--proxy-mode=iptables",
			// Two pods of one node meet on the bridge, where an answer would pass by
			// the rules that must translate it back, unless the machine filters
			// bridges. Masqueraded, it comes back through the node everywhere.
			"--masquerade-all",
			// Connection tracking is the machine's own, and read-only in a container.
			"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0"},
		listen: []string{"127.0.0.1:10256", "127.0.0.1:10249"},
		ready:  func(ctx context.Context) error { return probe(ctx, "http://127.0.0.1:10256/healthz") },
		grace:  10 * time.Second,
	}
}

// nodeObject is what is asked of a Node.
type nodeObject struct {
	Spec struct {
		Taints []struct {
			Key string `json:"key"`
		} `json:"taints"`
	} `json:"spec"`
	Status struct {
		Conditions []struct {
			Type          string    `json:"type"`
			Status        string    `json:"status"`
			Message       string    `json:"message"`
			LastHeartbeat time.Time `json:"lastHeartbeatTime"`
		} `json:"conditions"`
	} `json:"status"`
}

// readySince reports whether the node has said since a moment that it is ready:
// what it said before it was started again counts for nothing. Pods are placed
// there some seconds later, when the controller manager has taken it in.
func (n nodeObject) readySince(moment time.Time) error {
	for _, condition := range n.Status.Conditions {
		switch {
		case condition.Type != "Ready":
		case condition.LastHeartbeat.Before(moment.Truncate(time.Second)):
			return errors.New("the kubelet has not reported yet")
		case condition.Status != "True":
			return fmt.Errorf("the node is not ready: %s", condition.Message)
		default:
			return n.takesPods()
		}
	}
	return errors.New("the node has no status yet")
}

func (n nodeObject) takesPods() error {
	for _, taint := range n.Spec.Taints {
		if taint.Key == "node.kubernetes.io/not-ready" || taint.Key == "node.kubernetes.io/unreachable" {
			return fmt.Errorf("the node has the taint %s still", taint.Key)
		}
	}
	return nil
}

func nodeReady(ctx context.Context, api *client, since time.Time) error {
	var node nodeObject
	if err := api.get(ctx, "/api/v1/nodes/"+nodeName, &node); err != nil {
		return err
	}
	return node.readySince(since)
}

// canRunPods waits for the account that pods of the default namespace need: a
// new cluster has it a moment after the controller manager runs.
func canRunPods(ctx context.Context, api *client) error {
	return api.get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", nil)
}
