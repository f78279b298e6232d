package main

import (
	"testing"

	"longtask.dev/tests/cluster/internal/local"
)

func TestAKubeconfigOfOursIsNotGiven(t *testing.T) {
	w := &workshop{cache: "/home/a/.cache/longtask"}
	cases := []struct{ name, kubeconfig, want string }{
		{"none", "", ""},
		{"the user's own", "/home/a/work.yaml", "/home/a/work.yaml"},
		{"the one that `up` wrote", w.kubeconfig(), ""},
		{"the one that it is a copy of", local.AdminKubeconfig, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", c.kubeconfig)
			if got := w.given(); got != c.want {
				t.Errorf("got %q", got)
			}
		})
	}
}
