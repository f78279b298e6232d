package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"longtask.dev/tests/cluster/internal/local"
	"longtask.dev/tests/cluster/internal/progress"
	"longtask.dev/tests/cluster/internal/tools"
)

// localCluster is the one that this program runs. What can be made without root
// is made first, in the user's own cache; the rest goes on as root.
type localCluster struct{ *workshop }

func (l localCluster) up(ctx context.Context) error {
	if err := l.tools(ctx, "kube", "helm"); err != nil {
		return err
	}
	kube, err := l.kube()
	if err != nil {
		return err
	}
	pause, err := l.pause(ctx)
	if err != nil {
		return err
	}
	return asRoot(ctx, "up", "-kube", kube, "-pause", pause, "-kubeconfig", l.kubeconfig())
}

// kube is the program that is all of Kubernetes.
func (l localCluster) kube() (string, error) { return tools.Program(l.module, l.cache, "kube") }

// pause gives the archive of the sandbox image; its name has a version.
func (l localCluster) pause(ctx context.Context) (string, error) {
	archive := l.archive(local.PauseImage)
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	return l.buildImage(ctx, l.pauseFile())
}

func (l localCluster) down(ctx context.Context, purge bool) error {
	if err := asRoot(ctx, "down", "-purge="+strconv.FormatBool(purge)); err != nil {
		return err
	}
	return os.RemoveAll(l.kubeconfig())
}

func (l localCluster) status(ctx context.Context) error { return asRoot(ctx, "status") }

func (l localCluster) stop(ctx context.Context, component string) error {
	return asRoot(ctx, "stop", "-component", component)
}

func (l localCluster) start(ctx context.Context, component string) error {
	if err := l.programs(ctx, "kube"); err != nil {
		return err
	}
	kube, err := l.kube()
	if err != nil {
		return err
	}
	return asRoot(ctx, "start", "-kube", kube, "-component", component)
}

func (l localCluster) load(ctx context.Context, archive string) error {
	return l.say.Step("done", func() error { return asRoot(ctx, "load", "-archive", archive) }, "loading %s", archive)
}

// asRoot does a part of the work as root, here or in a program under sudo.
func asRoot(ctx context.Context, args ...string) error {
	if os.Geteuid() == 0 {
		return runAsRoot(ctx, args)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	sudo := exec.CommandContext(ctx, "sudo", append([]string{self, "root"}, args...)...)
	sudo.Stdin, sudo.Stdout, sudo.Stderr = os.Stdin, os.Stdout, os.Stderr
	return sudo.Run()
}

func runAsRoot(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("root", flag.ContinueOnError)
	kube := flags.String("kube", "", "the program that is Kubernetes")
	pause := flags.String("pause", "", "the archive of the sandbox image")
	kubeconfig := flags.String("kubeconfig", "", "where to put the administrator's kubeconfig")
	archive := flags.String("archive", "", "the images to load")
	component := flags.String("component", "", "the component to stop or start")
	purge := flags.Bool("purge", false, "remove the data too")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	cluster := local.Cluster{Kube: *kube, Pause: *pause, Say: progress.To(os.Stdout)}
	switch args[0] {
	case "up":
		if err := cluster.Up(ctx); err != nil {
			return err
		}
		return publish(*kubeconfig, cluster.Say)
	case "down":
		return cluster.Down(ctx, *purge)
	case "status":
		return cluster.Status(ctx)
	case "stop":
		return cluster.Stop(ctx, *component)
	case "start":
		return cluster.Start(ctx, *component)
	case "load":
		return local.Load(ctx, *archive)
	}
	return errUsage
}

// publish hands the administrator's kubeconfig to the user who asked for the
// cluster, whom sudo names.
func publish(kubeconfig string, say *progress.Printer) error {
	text, err := os.ReadFile(local.AdminKubeconfig)
	if err != nil {
		return err
	}
	if err := os.WriteFile(kubeconfig, text, 0o600); err != nil {
		return err
	}
	if user, err := strconv.Atoi(os.Getenv("SUDO_UID")); err == nil {
		if err := os.Chown(kubeconfig, user, -1); err != nil {
			return fmt.Errorf("hand over the kubeconfig: %w", err)
		}
	}
	say.Say("export KUBECONFIG=%s", kubeconfig)
	return nil
}
