package local

import (
	"context"
	"time"
)

// etcd listens on a socket that only root can open. Writes are not synced to the
// disk: they survive the crash of any process, and the cluster need not survive
// the machine's.
func etcd(kube string) component {
	const url, peers = "unix://" + etcdSocket, "http://127.0.0.1:2380"
	return component{
		name: "etcd",
		argv: []string{kube, "etcd",
			"--data-dir=" + statePath("etcd"),
			"--listen-client-urls=" + url, "--advertise-client-urls=" + url,
			"--listen-peer-urls=" + peers, "--initial-advertise-peer-urls=" + peers,
			"--initial-cluster=default=" + peers,
			"--unsafe-no-fsync", "--log-level=warn"},
		listen: []string{"127.0.0.1:2380"},
		ready:  func(ctx context.Context) error { return probeSocket(ctx, etcdSocket, "/health") },
		grace:  10 * time.Second,
	}
}

// apiServer is where clients on this machine find it. It listens on all
// addresses, since it can be given one only and both this one and the bridge's
// are needed; the firewall shuts out everyone else.
const apiServer = "https://127.0.0.1:" + apiPort

func kubeAPIServer(kube string, api *client) component {
	return component{
		name: "kube-apiserver",
		argv: []string{kube, "kube-apiserver",
			"--etcd-servers=unix://" + etcdSocket,
			"--bind-address=0.0.0.0", "--secure-port=" + apiPort, "--advertise-address=" + nodeIP,
			"--tls-cert-file=" + pkiFile("apiserver.crt"), "--tls-private-key-file=" + pkiFile("apiserver.key"),
			"--client-ca-file=" + pkiFile("ca.crt"), "--cert-dir=" + statePath("apiserver"),
			"--service-cluster-ip-range=" + serviceCIDR,
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + pkiFile("sa.pub"), "--service-account-signing-key-file=" + pkiFile("sa.key"),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
			"--kubelet-client-certificate=" + pkiFile("kubelet-client.crt"), "--kubelet-client-key=" + pkiFile("kubelet-client.key"),
			// The node's name is in no DNS: logs and exec must go by its address.
			"--kubelet-preferred-address-types=InternalIP"},
		listen: []string{"0.0.0.0:" + apiPort},
		ready:  func(ctx context.Context) error { return api.get(ctx, "/readyz", nil) },
		// It waits for clients that watch, which may never leave.
		grace: 5 * time.Second,
	}
}

func controllerManager(kube string) component {
	config := kubeconfigFile("controller-manager")
	return component{
		name: "kube-controller-manager",
		argv: []string{kube, "kube-controller-manager", "--bind-address=127.0.0.1",
			"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
			"--service-account-private-key-file=" + pkiFile("sa.key"), "--root-ca-file=" + pkiFile("ca.crt"),
			"--use-service-account-credentials", "--leader-elect=false"},
		listen: []string{"127.0.0.1:10257"},
		ready:  func(ctx context.Context) error { return probe(ctx, "https://127.0.0.1:10257/healthz") },
		grace:  10 * time.Second,
	}
}

func scheduler(kube string) component {
	config := kubeconfigFile("scheduler")
	return component{
		name: "kube-scheduler",
		argv: []string{kube, "kube-scheduler", "--bind-address=127.0.0.1",
			"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
			"--leader-elect=false"},
		listen: []string{"127.0.0.1:10259"},
		ready:  func(ctx context.Context) error { return probe(ctx, "https://127.0.0.1:10259/healthz") },
		grace:  10 * time.Second,
	}
}
