package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

const works, fails = "#!/bin/sh\n", "#!/bin/sh\nexit 1\n"

// programs makes these scripts all that is in PATH.
func programs(t *testing.T, texts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for program, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, program), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestWhichClusterIsMeant(t *testing.T) {
	both := map[string]string{"docker": works, "kind": works}
	cases := []struct {
		name               string
		programs           map[string]string
		chosen, kubeconfig string
		want               target
	}{
		{"nothing is there", nil, "", "", localCluster{}},
		{"Docker without kind", map[string]string{"docker": works}, "", "", localCluster{}},
		{"kind without an engine", map[string]string{"docker": fails, "kind": works}, "", "", localCluster{}},
		{"kind", both, "", "", kindCluster{}},
		{"a given one comes before what is there", both, "", "/a", givenCluster{}},
		{"a choice comes before a given one", both, "kind", "/a", kindCluster{}},
		{"the local one although kind is there", both, "local", "", localCluster{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			programs(t, c.programs)
			t.Setenv("LONGTASK_CLUSTER", c.chosen)
			t.Setenv("KUBECONFIG", c.kubeconfig)
			got := (&workshop{}).target(t.Context())
			if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", c.want) {
				t.Errorf("got %T", got)
			}
		})
	}
}

func TestAChoiceThatCannotBeHadIsRefused(t *testing.T) {
	cases := []struct {
		chosen   string
		programs map[string]string
		says     string
	}{
		{"", nil, ""},
		{"local", nil, ""},
		{"kind", map[string]string{"docker": works, "kind": works}, ""},
		{"kind", map[string]string{"docker": works}, "kind is not in PATH"},
		{"kind", map[string]string{"kind": works}, "docker is not in PATH"},
		{"kind", map[string]string{"docker": fails, "kind": works}, "no Docker engine answers"},
		{"minikube", nil, "write kind or local"},
	}
	for _, c := range cases {
		t.Run(c.chosen+" "+c.says, func(t *testing.T) {
			programs(t, c.programs)
			t.Setenv("LONGTASK_CLUSTER", c.chosen)
			err := checkChosen(t.Context())
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAKindClusterIsCreatedOnce(t *testing.T) {
	cases := []struct{ name, clusters, want string }{
		{"there is none", "other", "create cluster --config ../../kind.yaml --wait 3m"},
		{"there is one", "other longtask", "export kubeconfig"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			said := filepath.Join(t.TempDir(), "said")
			script := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = get ]; then echo %s; else echo \"$*\" > %s; fi\n", c.clusters, said)
			programs(t, map[string]string{"kind": script})
			k := kindCluster{workshop: &workshop{module: "../..", cache: "/cache"}}
			if _, err := os.Stat(k.config()); err != nil {
				t.Fatal(err)
			}
			if err := k.createOrConnect(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(said)
			if want := c.want + " --name longtask --kubeconfig /cache/kubeconfig\n"; err != nil || string(got) != want {
				t.Errorf("got %q, %v", got, err)
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
