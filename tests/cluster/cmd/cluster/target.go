package main

import (
	"context"
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

// target chooses: what the user says, then what is quick, then what always works.
func (w *workshop) target(ctx context.Context) target {
	switch {
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

// hasKind asks the Docker engine, since its client alone is of no use.
func hasKind(ctx context.Context) bool {
	if _, err := exec.LookPath("kind"); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return exec.CommandContext(ctx, "docker", "info").Run() == nil
}

// visibly runs a program whose words are the user's to read.
func visibly(ctx context.Context, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	return command.Run()
}
