package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

func containerd() component {
	return component{
		name:  "containerd",
		argv:  []string{"containerd", "--config", statePath("containerd.toml")},
		ready: onNode.ready,
		grace: 10 * time.Second,
	}
}

// containerdConfig is in version 2 of the format, which containerd 2 still reads.
const containerdConfig = `version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  # Without the right to lower it (CAP_SYS_RESOURCE, often missing in a container),
  # runc fails with "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  # Network namespaces go where they are found and removed with the rest.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = %q
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
`

func containerdFile() (file, error) {
	plugins, err := cniPlugins()
	if err != nil {
		return file{}, err
	}
	text := fmt.Sprintf(containerdConfig, statePath("containerd"), containerdState, containerdSocket,
		PauseImage, runcRoot, plugins, statePath("cni"))
	return file{statePath("containerd.toml"), []byte(text), 0o644}, nil
}

// loadArchive imports images into the node.
func loadArchive(ctx context.Context, archive string) error {
	load := exec.CommandContext(ctx, "ctr", "--address", containerdSocket, "--namespace", containerdNamespace, "images", "import", archive)
	load.Env = append(os.Environ(), "PATH="+systemPath)
	if output, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("load %s: %w\n%s", archive, err, output)
	}
	return nil
}
