package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

func TestWhichClusterIsMeant(t *testing.T) {
	const works, fails = "#!/bin/sh\n", "#!/bin/sh\nexit 1\n"
	cases := []struct {
		name       string
		programs   map[string]string
		kubeconfig string
		want       target
	}{
		{"nothing is there", nil, "", localCluster{}},
		{"Docker without kind", map[string]string{"docker": works}, "", localCluster{}},
		{"kind without an engine", map[string]string{"docker": fails, "kind": works}, "", localCluster{}},
		{"kind", map[string]string{"docker": works, "kind": works}, "", kindCluster{}},
		{"a given one comes first", map[string]string{"docker": works, "kind": works}, "/a", givenCluster{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for program, text := range c.programs {
				if err := os.WriteFile(filepath.Join(dir, program), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", dir)
			t.Setenv("KUBECONFIG", c.kubeconfig)
			got := (&workshop{}).target(t.Context())
			if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", c.want) {
				t.Errorf("got %T", got)
			}
		})
	}
}

func TestOnlyTheLocalClustersComponentsAreStopped(t *testing.T) {
	for _, other := range []target{kindCluster{}, givenCluster{}} {
		if err := other.stop(t.Context(), "kubelet"); !errors.Is(err, errNotOurs) {
			t.Errorf("%T: got %v", other, err)
		}
	}
}
