// Package tools brings what the cluster needs onto the machine: the
// distribution's packages, Kubernetes, helm and its like.
package tools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"longtask.dev/tests/cluster/internal/progress"
)

// need is a program or file of the system, and Debian's package that has it.
// What counts is the file: it may have come another way, as with Docker's own
// packages, which Debian's would push out.
type need struct {
	anyOf []string // a name to look for among the programs, or a path
	deb   string
}

var needs = []need{
	{[]string{"containerd"}, "containerd"},
	{[]string{"ctr"}, "containerd"},
	{[]string{"runc"}, "runc"},
	{[]string{"/usr/lib/cni/bridge", "/opt/cni/bin/bridge"}, "containernetworking-plugins"},
	{[]string{"iptables"}, "iptables"},
	{[]string{"ip"}, "iproute2"},
	{[]string{"prometheus"}, "prometheus"},
	{[]string{"promtool"}, "prometheus"},
	{[]string{"pip3"}, "python3-pip"}, // for moto, the store of the tests
}

// Packages installs the packages that are missing.
func Packages(ctx context.Context, say *progress.Printer) error {
	missing := missing(needs, present)
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("this machine lacks %s, and has no apt-get to install them with", strings.Join(missing, ", "))
	}
	if err := Refresh(ctx, say); err != nil {
		return err
	}
	for _, service := range []string{"containerd.service", "prometheus.service"} {
		unmask := maskService(ctx, service)
		defer unmask()
	}
	return say.Step("done", func() error { return aptGet(ctx, append([]string{"install"}, missing...)...) },
		"installing %s", strings.Join(missing, ", "))
}

// Refresh updates the lists of packages.
func Refresh(ctx context.Context, say *progress.Printer) error {
	return say.Step("done", func() error { return aptGet(ctx, "update") }, "updating the lists of packages")
}

func missing(needs []need, present func(string) bool) []string {
	var packages []string
	for _, need := range needs {
		if !slices.ContainsFunc(need.anyOf, present) && !slices.Contains(packages, need.deb) {
			packages = append(packages, need.deb)
		}
	}
	return packages
}

// present looks where root finds programs; a user's PATH may lack sbin.
func present(name string) bool {
	if filepath.IsAbs(name) {
		_, err := os.Stat(name)
		return err == nil
	}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/sbin", "/usr/sbin", "/sbin") {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.IsDir() {
			return true
		}
	}
	return false
}

func aptGet(ctx context.Context, args ...string) error {
	command := asRoot(ctx, append([]string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--no-install-recommends"}, args...)...)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, output)
	}
	return nil
}

// maskService keeps a package's installation from starting a service that is not
// there yet: the cluster runs its own. The mask is gone when the installation is
// over, or else with the next boot.
func maskService(ctx context.Context, unit string) (unmask func()) {
	if _, err := os.Stat("/run/systemd/system"); errors.Is(err, os.ErrNotExist) {
		return func() {}
	}
	if exec.CommandContext(ctx, "systemctl", "cat", unit).Run() == nil {
		return func() {} // it is the machine's own: none of our business
	}
	if asRoot(ctx, "systemctl", "mask", "--runtime", unit).Run() != nil {
		return func() {}
	}
	return func() { asRoot(ctx, "systemctl", "unmask", "--runtime", unit).Run() }
}

// asRoot makes a command that runs as root. sudo may ask for a password.
func asRoot(ctx context.Context, argv ...string) *exec.Cmd {
	if os.Geteuid() != 0 {
		argv = append([]string{"sudo"}, argv...)
	}
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Stdin = os.Stdin
	return command
}
