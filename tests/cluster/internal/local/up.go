package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"longtask.dev/tests/cluster/internal/progress"
)

// Cluster is the local cluster as one program of Kubernetes runs it.
type Cluster struct {
	Kube  string // the program that is all of Kubernetes
	Pause string // the archive of the image that every pod's sandbox is made of
	Say   *progress.Printer
}

// Up brings the cluster from any state to a working one. Every step first asks
// whether there is anything to do, so that after a crash, a kill or an earlier
// Up that was cut off, exactly what is missing is done.
func (c Cluster) Up(ctx context.Context) error {
	lock, err := takeLock(c.Say)
	if err != nil {
		return err
	}
	defer lock.Close()
	begun := time.Now()
	if c.working(ctx) {
		c.Say.Say("the cluster is running already")
		return nil
	}
	if err := c.prepare(); err != nil {
		return err
	}
	api, err := newClient(pkiFile(""))
	if err != nil {
		return err
	}
	for _, component := range c.components(api) {
		if component.name == "kubelet" && isNotFound(nodeReady(ctx, api, time.Time{})) {
			// It makes its Node when it starts, and not again.
			if err := component.stop(); err != nil {
				return err
			}
		}
		if err := component.ensure(ctx, lock, c.Say); err != nil {
			return err
		}
		if component.name == "containerd" {
			if err := c.ensurePause(ctx); err != nil {
				return err
			}
		}
	}
	if err := c.waitForNode(ctx, api, begun); err != nil {
		return err
	}
	c.Say.Say("the cluster is up, %.1f s after the start", time.Since(begun).Seconds())
	return nil
}

// components are in the order in which they start. A client always starts after
// what it needs, and stops before it: the API server hangs when it cannot say
// goodbye to etcd.
func (c Cluster) components(api *client) []component {
	return []component{
		etcd(c.Kube),
		containerd(),
		kubeAPIServer(c.Kube, api),
		controllerManager(c.Kube),
		scheduler(c.Kube),
		kubelet(c.Kube),
		kubeProxy(c.Kube),
	}
}

// working reports whether there is nothing to do.
func (c Cluster) working(ctx context.Context) bool {
	api, err := newClient(pkiFile(""))
	return err == nil && firstMissing(ctx, c.needs(api)) == nil
}

// prepare makes all that the components find when they start.
func (c Cluster) prepare() error {
	for _, dir := range []string{stateDir, statePath("log"), statePath("cni"), statePath("kubelet"), runDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(statePath("etcd"), 0o700); err != nil { // etcd insists
		return err
	}
	steps := []func() error{
		func() error { return ensurePKI(pkiFile(""), time.Now()) },
		configure,
		ensureCgroup,
		ensureBridge,
		ensureFirewall,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (c Cluster) ensurePause(ctx context.Context) error {
	err := onNode.hasImage(ctx, PauseImage)
	if !errors.Is(err, errMissing) {
		return err
	}
	return c.Say.Step("done", func() error { return loadArchive(ctx, c.Pause) }, "loading %s", PauseImage)
}

// waitForNode waits until a pod could run. A node that was ready before the
// kubelet started says so still: only what the kubelet has said since counts.
func (c Cluster) waitForNode(ctx context.Context, api *client, begun time.Time) error {
	since, err := startOf("kubelet")
	if err != nil || since.Before(begun) {
		since = time.Time{}
	}
	c.Say.Begin("waiting for the node")
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := errors.Join(nodeReady(ctx, api, since), canRunPods(ctx, api))
		if err == nil {
			c.Say.Done("ready")
			return nil
		}
		select {
		case <-ctx.Done():
			return c.Say.Fail(kubelet(c.Kube).explain(err))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// startOf tells when this boot of a component began.
func startOf(component string) (time.Time, error) {
	info, err := os.Stat(pidFile(component))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// Load imports the images of an archive into the node.
func Load(ctx context.Context, archive string) error {
	if err := onNode.ready(ctx); err != nil {
		return fmt.Errorf("the local cluster is not running (start it with `make cluster-up`): %w", err)
	}
	return loadArchive(ctx, archive)
}
