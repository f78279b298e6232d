package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"longtask.dev/tests/cluster/internal/progress"
)

// Down stops the cluster and removes all that it has put into the machine. Its
// objects and images stay on disk for the next Up, unless purge removes them.
//
// It does not stop at the first thing that fails: what can be removed is.
func (c Cluster) Down(ctx context.Context, purge bool) error {
	lock, err := takeLock(c.Say)
	if err != nil {
		return err
	}
	defer lock.Close()
	c.Say.Begin("stopping the cluster")
	failed := errors.Join(
		kubelet(c.Kube).stop(), // first, or it would start the pods again
		c.removePods(ctx, lock),
		c.stopComponents(),
		sweepContainers(),
		unmountBelow(runDir, stateDir),
		removeBridge(),
		removeFirewall(),
		sweepCNICache(cniCache),
		sweepCgroups(),
		os.RemoveAll(runDir),
	)
	if purge && failed == nil { // never delete through a mount that is still there
		failed = os.RemoveAll(stateDir)
	}
	if failed != nil {
		return c.Say.Fail(failed)
	}
	c.Say.Done("gone")
	return nil
}

// removePods has the runtime remove the pods. When it crashed it is started once
// more for that: pods it has written down would otherwise keep their network and
// come back as ghosts with the next Up.
func (c Cluster) removePods(ctx context.Context, lock *os.File) error {
	if _, err := os.Stat(statePath("containerd")); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(runDir); errors.Is(err, os.ErrNotExist) {
		return nil // it was stopped in order
	}
	if _, err := containerd().ensure(ctx, lock, progress.Quiet()); err != nil {
		return err
	}
	return removePods(ctx)
}

func (c Cluster) stopComponents() error {
	var failed []error
	for _, component := range slices.Backward(c.components(nil)) {
		failed = append(failed, component.stop())
	}
	return errors.Join(failed...)
}

// Status prints what runs, and returns an error when something does not.
func (c Cluster) Status(ctx context.Context) error {
	api, err := newClient(pkiFile(""))
	if err != nil {
		return errors.New("there is no local cluster: `make cluster-up` starts one")
	}
	down := 0
	for _, component := range c.components(api) {
		state := component.state(ctx)
		if state != nil {
			down++
		}
		c.Say.Say("%-24s %s", component.name, describe(component.name, state))
	}
	if err := nodeReady(ctx, api, time.Time{}); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	if down > 0 {
		return errors.New("the cluster is incomplete: `make cluster-up` repairs it")
	}
	c.Say.Say("%-24s ready", "node "+nodeName)
	return nil
}

func (c component) state(ctx context.Context) error {
	if _, ok := running(c.name); !ok {
		return errors.New("not running")
	}
	return c.ready(ctx)
}

func describe(component string, state error) string {
	if state != nil {
		return state.Error()
	}
	p, _ := running(component)
	return fmt.Sprintf("running, pid %d", p.pid)
}
