package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"longtask.dev/tests/cluster/internal/local"
)

// target is the cluster that commands are about.
type target interface {
	up(ctx context.Context) error
	down(ctx context.Context, purge bool) error
	status(ctx context.Context) error
	load(ctx context.Context, archive string) error
	stop(ctx context.Context, component string) error
	start(ctx context.Context, component string) error
}

// untouchable is a cluster whose components are not ours to stop and start.
type untouchable struct{}

func (untouchable) stop(context.Context, string) error  { return errNotOurs }
func (untouchable) start(context.Context, string) error { return errNotOurs }

// chosen is the kind of cluster that the user names by `make CLUSTER=...`.
func chosen() string { return os.Getenv("LONGTASK_CLUSTER") }

// checkChosen refuses a cluster that cannot be had, before anything is built for it.
func checkChosen(ctx context.Context) error {
	switch choice := chosen(); choice {
	case "", "local":
		return nil
	case "kind":
		if err := missesKind(ctx); err != nil {
			return fmt.Errorf("CLUSTER=kind: %w; or leave CLUSTER out, for a cluster without Docker", err)
		}
		return nil
	default:
		return fmt.Errorf("CLUSTER=%s: write kind or local, or set KUBECONFIG to a cluster of yours", choice)
	}
}

// target chooses: what the user says, then what is quick, then what always works.
func (w *workshop) target(ctx context.Context) target {
	switch {
	case chosen() == "kind":
		return kindCluster{workshop: w}
	case chosen() == "local":
		return localCluster{w}
	case w.given() != "":
		return givenCluster{workshop: w, file: w.given()}
	case hasKind(ctx):
		return kindCluster{workshop: w}
	default:
		return localCluster{w}
	}
}

// given is the kubeconfig of a cluster that is not ours. One that we wrote is
// often set too, and says nothing.
func (w *workshop) given() string {
	switch kubeconfig := os.Getenv("KUBECONFIG"); kubeconfig {
	case w.kubeconfig(), local.AdminKubeconfig:
		return ""
	default:
		return kubeconfig
	}
}

func hasKind(ctx context.Context) bool { return missesKind(ctx) == nil }

// missesKind says what is not there. It asks the Docker engine, since its client
// alone is of no use.
func missesKind(ctx context.Context) error {
	if _, err := exec.LookPath("kind"); err != nil {
		return errors.New("kind is not in PATH, install it (https://kind.sigs.k8s.io)")
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return errors.New("docker is not in PATH, and kind runs its nodes in it")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := exec.CommandContext(ctx, "docker", "info").Run(); err != nil {
		return fmt.Errorf("no Docker engine answers (docker info: %w), start it", err)
	}
	return nil
}

// visibly runs a program whose words are the user's to read.
func visibly(ctx context.Context, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	return command.Run()
}
