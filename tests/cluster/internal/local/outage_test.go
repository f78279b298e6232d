package local

import (
	"strings"
	"testing"
)

func TestAComponentIsFoundByItsName(t *testing.T) {
	all := Cluster{Kube: "kube"}.components(nil)
	found, err := find(all, "kubelet")
	if err != nil || found.name != "kubelet" {
		t.Errorf("got %q, %v", found.name, err)
	}
	if _, err := find(all, "kublet"); err == nil || !strings.Contains(err.Error(), "kubelet") {
		t.Errorf("the names that exist are not told: %v", err)
	}
}
