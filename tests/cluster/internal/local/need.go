package local

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// need is one thing without which pods do not run.
type need struct {
	name  string
	check func(context.Context) error // nil: it is there
}

// needs are all that Up repairs: the components, and what can be lost while they
// run. What is cheap to ask for, and what others need, comes first.
func (c Cluster) needs(api *client) []need {
	all := []need{
		{"configuration", func(context.Context) error { return configured() }},
		{"cgroup", func(context.Context) error { return cgroupReady() }},
		{"bridge", func(context.Context) error { return bridgeReady() }},
		{"firewall", func(context.Context) error { return firewallReady() }},
	}
	for _, component := range c.components(api) {
		all = append(all, need{component.name, component.state})
	}
	return append(all,
		need{"image " + PauseImage, func(ctx context.Context) error { return onNode.hasImage(ctx, PauseImage) }},
		need{"node " + nodeName, func(ctx context.Context) error { return nodeReady(ctx, api, time.Time{}) }},
		need{"account of pods", func(ctx context.Context) error { return canRunPods(ctx, api) }},
	)
}

// firstMissing says what is not there; nil: nothing is missing.
func firstMissing(ctx context.Context, needs []need) error {
	for _, need := range needs {
		if err := need.check(ctx); err != nil {
			return fmt.Errorf("%s: %w", need.name, err)
		}
	}
	return nil
}

var errMissing = errors.New("missing")
