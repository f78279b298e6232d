package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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
	if err := k.programs(ctx, "kube", "helm"); err != nil {
		return err
	}
	if err := os.MkdirAll(k.cache, 0o755); err != nil {
		return err
	}
	if err := k.createOrConnect(ctx); err != nil {
		return err
	}
	k.say.Say("export KUBECONFIG=%s", k.kubeconfig())
	return nil
}

func (k kindCluster) createOrConnect(ctx context.Context) error {
	running, err := k.exists(ctx)
	if err != nil {
		return err
	}
	// The kubeconfig may lead to the local cluster by now: both write the same file.
	command := []string{"export", "kubeconfig"}
	if !running {
		command = []string{"create", "cluster", "--config", k.config(), "--wait", "3m"}
	}
	return visibly(ctx, "kind", append(command, "--name", kindName, "--kubeconfig", k.kubeconfig())...)
}

// config is the file that says what the cluster is made of.
func (k kindCluster) config() string { return filepath.Join(k.module, "kind.yaml") }

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
