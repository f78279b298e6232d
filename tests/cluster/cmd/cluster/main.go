// Command cluster gives the tests a Kubernetes cluster, and images to run on it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"longtask.dev/tests/cluster/internal/local"
)

const usage = `usage: cluster COMMAND

  tools                 install what the tests need and is missing: packages, Kubernetes, helm and others
  tools PROGRAM...      build only these, of kube, helm, helm-docs, actionlint, collector and kwok
  up                    start a cluster, or repair it
  down [--purge]        stop it; with --purge, remove its data too
  status                say what runs
  stop COMPONENT        stop one component of the local cluster, as an outage would
  start COMPONENT       start it again, and wait until it works
  load IMAGE...         put images on the node; each an image file (.yaml), an archive (.tar) or a name
  image build IMAGE...  build images from image files, and print where their archives are

The cluster is what LONGTASK_CLUSTER says, kind or local, if given; else that of KUBECONFIG, if given; else kind's, if a Docker engine answers and kind is there; else one of
its own on this machine, which needs root.
`

// module is the folder of this module, set by the linker: the program works
// from anywhere.
var module = "."

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:]); {
	case errors.Is(err, errUsage):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case errors.Is(err, errNotOurs):
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(3)
	case err != nil:
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(1)
	}
}

var (
	errUsage = errors.New("see the usage")
	// errNotOurs has an exit code of its own: tests ask by it.
	errNotOurs = errors.New("only components of the local cluster can be stopped and started")
)

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	command, args := args[0], args[1:]
	switch command {
	case "become": // how the cluster starts its components
		return local.Become(args[0], args[1:])
	case "root": // how an unprivileged `cluster` goes on as root
		return runAsRoot(ctx, args)
	}
	w, err := newWorkshop(module)
	if err != nil {
		return err
	}
	if err := checkChosen(ctx); err != nil {
		return err
	}
	switch {
	case command == "tools" && len(args) == 0:
		return w.tools(ctx, "kube", "helm", "helm-docs", "actionlint", "collector")
	case command == "tools":
		return w.programs(ctx, args...)
	case command == "up" && len(args) == 0:
		return w.target(ctx).up(ctx)
	case command == "down" && len(args) == 0:
		return w.target(ctx).down(ctx, false)
	case command == "down" && len(args) == 1 && args[0] == "--purge":
		return w.target(ctx).down(ctx, true)
	case command == "status" && len(args) == 0:
		return w.target(ctx).status(ctx)
	case command == "stop" && len(args) == 1:
		return w.target(ctx).stop(ctx, args[0])
	case command == "start" && len(args) == 1:
		return w.target(ctx).start(ctx, args[0])
	case command == "load" && len(args) > 0:
		return w.load(ctx, args)
	case command == "image" && len(args) > 1 && args[0] == "build":
		return w.build(ctx, args[1:])
	}
	return errUsage
}
