package tools

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestMissing(t *testing.T) {
	cases := []struct {
		name    string
		present []string
		want    []string
	}{
		{"a fresh machine", nil, []string{"containerd", "runc", "containernetworking-plugins", "iptables", "iproute2", "prometheus"}},
		{"everything", []string{"containerd", "ctr", "runc", "/opt/cni/bin/bridge", "iptables", "ip", "prometheus", "promtool"}, nil},
		{"with Docker's own packages", []string{"containerd", "ctr", "runc", "iptables", "ip", "prometheus", "promtool"}, []string{"containernetworking-plugins"}},
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
