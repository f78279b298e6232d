package main

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"

	"longtask.dev/tests/cluster/internal/tools"
)

// kindName is the name of the cluster among kind's.
const kindName = "longtask"

// kindCluster is one that kind runs in the Docker engine.
type kindCluster struct {
	*workshop
	untouchable
}

func (k kindCluster) up(ctx context.Context) error {
	// kubectl and helm are used with any cluster; packages are not.
	if _, err := tools.Kube(ctx, k.module, k.cache, k.say); err != nil {
		return err
	}
	if err := tools.Programs(ctx, k.cache, k.say); err != nil {
		return err
	}
	if err := os.MkdirAll(k.cache, 0o755); err != nil {
		return err
	}
	if running, err := k.exists(ctx); err != nil || running {
		k.say.Say("the kind cluster %s is running already: export KUBECONFIG=%s", kindName, k.kubeconfig())
		return err
	}
	if err := visibly(ctx, "kind", "create", "cluster", "--name", kindName, "--kubeconfig", k.kubeconfig(), "--wait", "3m"); err != nil {
		return err
	}
	k.say.Say("export KUBECONFIG=%s", k.kubeconfig())
	return nil
}

func (k kindCluster) exists(ctx context.Context) (bool, error) {
	list, err := exec.CommandContext(ctx, "kind", "get", "clusters").Output()
	return slices.Contains(strings.Fields(string(list)), kindName), err
}

// down has nothing to purge: kind keeps nothing.
func (k kindCluster) down(ctx context.Context, _ bool) error {
	return visibly(ctx, "kind", "delete", "cluster", "--name", kindName, "--kubeconfig", k.kubeconfig())
}

func (k kindCluster) status(ctx context.Context) error {
	return visibly(ctx, "docker", "ps", "--filter", "label=io.x-k8s.kind.cluster="+kindName)
}

func (k kindCluster) load(ctx context.Context, archive string) error {
	return visibly(ctx, "kind", "load", "image-archive", archive, "--name", kindName)
}
