package tools

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"longtask.dev/tests/cluster/internal/progress"
)

func TestMissing(t *testing.T) {
	cases := []struct {
		name    string
		present []string
		want    []string
	}{
		{"a fresh machine", nil, []string{"containerd", "runc", "containernetworking-plugins", "iptables", "iproute2", "prometheus", "python3-pip"}},
		{"everything", []string{"containerd", "ctr", "runc", "/opt/cni/bin/bridge", "iptables", "ip", "prometheus", "promtool", "pip3"}, nil},
		{"with Docker's own packages", []string{"containerd", "ctr", "runc", "iptables", "ip", "prometheus", "promtool", "pip3"}, []string{"containernetworking-plugins"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := missing(needs, func(name string) bool { return slices.Contains(c.present, name) })
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestVersionIsTheOneThatIsBuilt(t *testing.T) {
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(module), "k8s.io/kubernetes v"+KubernetesVersion+"\n") {
		t.Errorf("go.mod does not require Kubernetes %s", KubernetesVersion)
	}
}

func TestToolsOfTheModuleAreThePrograms(t *testing.T) {
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(module), "\ntool (\n")
	block, _, _ = strings.Cut(block, "\n)")
	var want []string
	for _, p := range programs {
		if !strings.HasPrefix(p.source, "./") {
			want = append(want, p.source)
		}
	}
	slices.Sort(want)
	if got := strings.Fields(block); !slices.Equal(got, want) {
		t.Errorf("go.mod has the tools %q, and the programs are %q", got, want)
	}
}

func TestAProgramIsFoundAgainUntilItsSourcesChange(t *testing.T) {
	cache := t.TempDir()
	module := moduleWith(t, "go.mod", "cmd/kube/main.go", "cmd/collector/main.go")
	before := fileOf(t, module, cache, "kube")
	if again := fileOf(t, module, cache, "kube"); again != before {
		t.Errorf("%s is not found again, but %s", before, again)
	}
	write(t, module, "cmd/collector/main.go", "changed")
	if after := fileOf(t, module, cache, "kube"); after != before {
		t.Error("kube is built again for a change of the collector")
	}
	write(t, module, "cmd/kube/main.go", "changed")
	if after := fileOf(t, module, cache, "kube"); after == before {
		t.Error("kube is not built again for a change of its own")
	}
	helm := fileOf(t, module, cache, "helm")
	write(t, module, "go.mod", "changed")
	if after := fileOf(t, module, cache, "helm"); after == helm {
		t.Error("helm is not built again for other versions")
	}
}

func TestProgramsThatAreThereAreLinkedAndNotBuilt(t *testing.T) {
	cache := t.TempDir()
	module := moduleWith(t, "go.mod", "cmd/kube/main.go")
	kube := fileOf(t, module, cache, "kube")
	write(t, filepath.Dir(kube), filepath.Base(kube), "a program")
	if err := Programs(t.Context(), module, cache, progress.Quiet(), "kube"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kube", "kubectl"} {
		if target, err := os.Readlink(filepath.Join(cache, "bin", name)); err != nil || target != kube {
			t.Errorf("%s is a link to %q (%v)", name, target, err)
		}
	}
}

func TestAnUnknownProgramIsRefused(t *testing.T) {
	if err := Programs(t.Context(), ".", t.TempDir(), progress.Quiet(), "helmet"); !errors.Is(err, errUnknown) {
		t.Errorf("got %v", err)
	}
}

func moduleWith(t *testing.T, files ...string) string {
	t.Helper()
	module := t.TempDir()
	for _, file := range files {
		write(t, module, file, "as it was")
	}
	return module
}

func write(t *testing.T, dir, file, text string) {
	t.Helper()
	path := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func fileOf(t *testing.T, module, cache, name string) string {
	t.Helper()
	file, err := Program(module, cache, name)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
