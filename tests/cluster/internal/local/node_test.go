package local

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

func TestNodeReadySince(t *testing.T) {
	started := time.Date(2026, 11, 24, 12, 0, 5, 700_000_000, time.UTC)
	cases := []struct {
		name, status string
		ready        bool
	}{
		{"reported since", `[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-11-24T12:00:07Z"}]`, true},
		{"in the same second, since the API drops fractions", `[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-11-24T12:00:05Z"}]`, true},
		{"only before", `[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-11-24T11:00:00Z"}]`, false},
		{"not ready", `[{"type":"Ready","status":"False","lastHeartbeatTime":"2026-11-24T12:00:07Z"}]`, false},
		{"lost", `[{"type":"Ready","status":"Unknown","lastHeartbeatTime":"2026-11-24T12:00:07Z"}]`, false},
		{"another condition", `[{"type":"DiskPressure","status":"True","lastHeartbeatTime":"2026-11-24T12:00:07Z"}]`, false},
		{"new", `[]`, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var node nodeObject
			if err := json.Unmarshal([]byte(`{"status":{"conditions":`+c.status+`}}`), &node); err != nil {
				t.Fatal(err)
			}
			if err := node.readySince(started); (err == nil) != c.ready {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestANodeTakesPodsOnceItsTaintsAreGone(t *testing.T) {
	cases := []struct {
		name, taints string
		ready        bool
	}{
		{"none", `[]`, true},
		{"new", `[{"key":"node.kubernetes.io/not-ready"}]`, false},
		{"back", `[{"key":"mine"},{"key":"node.kubernetes.io/unreachable"}]`, false},
		{"of somebody's own", `[{"key":"mine"}]`, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			const status = `{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-11-24T12:00:07Z"}]}`
			var node nodeObject
			if err := json.Unmarshal([]byte(`{"spec":{"taints":`+c.taints+`},"status":`+status+`}`), &node); err != nil {
				t.Fatal(err)
			}
			if err := node.readySince(time.Time{}); (err == nil) != c.ready {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLinkNames(t *testing.T) {
	cases := []struct {
		name, list string
		want       []string
	}{
		{"none", "", nil},
		{"none, as newer versions say it", "[]", nil},
		{"two", `[{"ifindex":4,"ifname":"veth1","master":"lt0"},{},{"ifname":"veth2"}]`, []string{"veth1", "veth2"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got, err := linkNames([]byte(c.list)); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func parseKubeconfig(t *testing.T, text []byte) kubeconfig {
	t.Helper()
	var config kubeconfig
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		t.Fatal(err)
	}
	return config
}
