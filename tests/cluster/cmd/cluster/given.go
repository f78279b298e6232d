package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// givenCluster is the one of a KUBECONFIG that the user has set: it is used and
// never changed.
type givenCluster struct {
	*workshop
	untouchable
	file string
}

func (g givenCluster) up(ctx context.Context) error {
	if err := g.programs(ctx, "kube", "helm"); err != nil {
		return err
	}
	g.say.Say("using the cluster of KUBECONFIG=%s", g.file)
	return g.status(ctx)
}

func (g givenCluster) down(context.Context, bool) error {
	g.say.Say("the cluster of KUBECONFIG=%s is not ours to stop", g.file)
	return nil
}

func (g givenCluster) status(ctx context.Context) error {
	return visibly(ctx, g.kubectl(), "get", "nodes")
}

// load knows the way into kind's nodes. For any other cluster, only its owner
// does.
func (g givenCluster) load(ctx context.Context, archive string) error {
	name, err := exec.CommandContext(ctx, g.kubectl(), "config", "current-context").CombinedOutput()
	if err != nil {
		return fmt.Errorf("read KUBECONFIG=%s: %w: %s", g.file, err, bytes.TrimSpace(name))
	}
	if cluster, ok := strings.CutPrefix(strings.TrimSpace(string(name)), "kind-"); ok && hasKind(ctx) {
		return visibly(ctx, "kind", "load", "image-archive", archive, "--name", cluster)
	}
	g.say.Say(`The image is not on the nodes of KUBECONFIG=%s yet. Bring it there by hand:
  minikube:      minikube image load %[2]s
  k3s:           k3s ctr images import %[2]s
  containerd:    ctr -n k8s.io images import %[2]s   (on each node)
  by a registry: docker load -i %[2]s, then docker tag and docker push, and use that name`, g.file, archive)
	return nil
}

// kubectl is the user's own, which may know how to log in to that cluster.
func (g givenCluster) kubectl() string {
	if own, err := exec.LookPath("kubectl"); err == nil {
		return own
	}
	return g.cache + "/bin/kubectl"
}
