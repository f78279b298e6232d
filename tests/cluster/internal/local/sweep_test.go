package local

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMountsBelow(t *testing.T) {
	table := strings.Join([]string{
		"/dev/vda / ext4 rw 0 0",
		"tmpfs /var/lib/longtask-cluster/kubelet/pods/1/volumes/a tmpfs rw 0 0",
		"tmpfs /var/lib/longtask-cluster/kubelet/pods/1/volumes/a/b tmpfs rw 0 0",
		`tmpfs /var/lib/longtask-cluster/with\040blank tmpfs rw 0 0`,
		"tmpfs /var/lib/longtask-cluster-of-another tmpfs rw 0 0",
		"tmpfs /var/lib/longtask-cluster tmpfs rw 0 0",
		"nsfs /run/longtask-cluster/containerd/netns/cni-1 nsfs rw 0 0",
		"torn",
	}, "\n")
	got := mountsBelow(table, []string{stateDir, runDir})
	want := []string{
		"/run/longtask-cluster/containerd/netns/cni-1",
		"/var/lib/longtask-cluster/with blank",
		"/var/lib/longtask-cluster/kubelet/pods/1/volumes/a/b",
		"/var/lib/longtask-cluster/kubelet/pods/1/volumes/a",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestIsShim(t *testing.T) {
	cases := []struct {
		name, cmdline string
		want          bool
	}{
		{"ours", "/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id 1 -address " + containerdSocket, true},
		{"another containerd's", "/usr/bin/containerd-shim-runc-v2 -namespace moby -id 1 -address /run/containerd/containerd.sock", false},
		{"not a shim", "grep -address " + containerdSocket, false},
		{"the last word is missing", "containerd-shim-runc-v2 -address", false},
		{"a kernel thread", "", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := isShim([]byte(strings.ReplaceAll(c.cmdline, " ", "\x00") + "\x00")); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestOnlyOurNotesAndLinksAreSwept(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ours-eth0", `{"sandbox":"`+runDir+`/containerd/netns/cni-1"}`)
	write("another-eth0", `{"sandbox":"/run/netns/cni-1"}`)
	write("file.log", "")
	os.Symlink(statePath("pod-logs", "a", "0.log"), filepath.Join(dir, "ours.log"))
	os.Symlink("/var/log/pods/a/0.log", filepath.Join(dir, "another.log"))
	if err := sweepCNICache(dir); err != nil {
		t.Error(err)
	}
	if err := sweepLogLinks(dir); err != nil {
		t.Error(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if want := []string{"another-eth0", "another.log", "file.log"}; !slices.Equal(left, want) {
		t.Errorf("left: %q", left)
	}
}
