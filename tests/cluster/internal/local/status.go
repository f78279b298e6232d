package local

import (
	"context"
	"errors"
	"fmt"
)

// Status prints what runs, and returns an error when something does not.
func (c Cluster) Status(ctx context.Context) error {
	api, err := newClient(pkiFile(""))
	if err != nil {
		return errors.New("there is no local cluster: `make cluster-up` starts one")
	}
	missing := 0
	for _, need := range c.needs(api) {
		state := need.check(ctx)
		if state != nil {
			missing++
		}
		c.Say.Say("%-32s %s", need.name, describe(need.name, state))
	}
	if missing > 0 {
		return errors.New("the cluster is incomplete: `make cluster-up` repairs it")
	}
	return nil
}

func (c component) state(ctx context.Context) error {
	if _, ok := running(c.name); !ok {
		return errors.New("not running")
	}
	return c.ready(ctx)
}

func describe(need string, state error) string {
	if state != nil {
		return state.Error()
	}
	if p, isComponent := running(need); isComponent {
		return fmt.Sprintf("running, pid %d", p.pid)
	}
	return "ready"
}
