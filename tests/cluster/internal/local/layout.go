// Package local runs the one-node cluster of this machine: it starts, checks,
// repairs and removes it.
//
// There is one such cluster per machine, since ports, bridge and iptables chains
// exist once: its places are constants. What must survive a stop lies in
// stateDir, what must not in runDir.
package local

import (
	"path/filepath"
	"time"
)

const (
	stateDir = "/var/lib/longtask-cluster"
	runDir   = "/run/longtask-cluster"

	// lockFile lies outside the folders that `down` removes.
	lockFile = "/run/longtask-cluster.lock"

	// AdminKubeconfig is all that a client needs: certificates are inside.
	AdminKubeconfig = stateDir + "/admin.kubeconfig"

	nodeName  = "local"
	bridge    = "lt0"
	bridgeMAC = "0a:58:0a:62:00:01" // of the node's address, as the CNI plugins make them
	nodeIP    = "10.98.0.1"
	podCIDR   = "10.98.0.0/16" // not podman's 10.88.0.0/16
	// The kubelet takes the first addresses for granted; pods start above.
	firstPodIP  = "10.98.1.1"
	serviceCIDR = "10.96.0.0/16"
	serviceIP   = "10.96.0.1"

	apiPort = "6443"

	etcdSocket       = runDir + "/etcd.sock"
	containerdSocket = runDir + "/containerd.sock"
	containerdState  = runDir + "/containerd"
	runcRoot         = runDir + "/runc"
	// containerdNamespace is where the kubelet's containers and images are.
	containerdNamespace = "k8s.io"

	network    = "longtask-cluster"
	PauseImage = "localhost/longtask-pause:1"

	// readyTimeout is long for a machine that compiles on all its cores meanwhile.
	readyTimeout = 90 * time.Second
	// patience is for a component that runs and does not answer.
	patience = 15 * time.Second
)

func statePath(parts ...string) string { return filepath.Join(append([]string{stateDir}, parts...)...) }
func runPath(parts ...string) string   { return filepath.Join(append([]string{runDir}, parts...)...) }

func logFile(component string) string { return statePath("log", component+".log") }
