package local

import (
	"context"
	"errors"
	"fmt"
	"time"
)

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
	if down > 0 {
		return errors.New("the cluster is incomplete: `make cluster-up` repairs it")
	}
	if err := nodeReady(ctx, api, time.Time{}); err != nil {
		return fmt.Errorf("node: %w", err)
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
