package local

import (
	"context"
	"errors"
	"os"
	"slices"

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
	sockets := shimSockets() // while the runtime's notes are there to tell
	failed := errors.Join(
		kubelet(c.Kube).stop(), // first, or it would start the pods again
		c.removePods(ctx, lock),
		c.stopComponents(),
		sweepContainers(),
		sweepSockets(sockets),
		unmountBelow(runDir, stateDir),
		removeBridge(),
		removeFirewall(),
		sweepCNICache(cniCache),
		sweepLogLinks(containerLogs),
		removeCgroup(),
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
	if err := containerd().ensure(ctx, lock, progress.Quiet()); err != nil {
		return err
	}
	return onNode.removePods(ctx)
}

func (c Cluster) stopComponents() error {
	var failed []error
	for _, component := range slices.Backward(c.components(nil)) {
		failed = append(failed, component.stop())
	}
	return errors.Join(failed...)
}
