package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Stop ends one component and leaves the others as they are: a test of its
// outage begins. Up, like Start, ends it.
func (c Cluster) Stop(_ context.Context, name string) error {
	component, _, err := c.named(name)
	if err != nil {
		return err
	}
	lock, err := takeLock(c.Say)
	if err != nil {
		return err
	}
	defer lock.Close()
	return c.Say.Step("stopped", component.stop, "stopping %s", name)
}

// Start starts one component and waits until it works; with the kubelet, until
// its node takes pods again.
func (c Cluster) Start(ctx context.Context, name string) error {
	component, api, err := c.named(name)
	if err != nil {
		return err
	}
	lock, err := takeLock(c.Say)
	if err != nil {
		return err
	}
	defer lock.Close()
	begun := time.Now()
	if err := component.ensure(ctx, lock, c.Say); err != nil || name != "kubelet" {
		return err
	}
	return c.waitForNode(ctx, api, begun)
}

// named finds a component of the cluster on this machine.
func (c Cluster) named(name string) (component, *client, error) {
	api, err := newClient(pkiFile(""))
	if err != nil {
		return component{}, nil, errors.New("there is no local cluster: `make cluster-up` starts one")
	}
	found, err := find(c.components(api), name)
	return found, api, err
}

func find(all []component, name string) (component, error) {
	var names []string
	for _, one := range all {
		if one.name == name {
			return one, nil
		}
		names = append(names, one.name)
	}
	return component{}, fmt.Errorf("there is no component %s; there are %s", name, strings.Join(names, ", "))
}
