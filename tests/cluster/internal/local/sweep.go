package local

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sweepContainers removes what the runtime could not, because its record was
// lost or damaged: containers, then the shims that guard them. Both name our own
// folders, so that another runtime's are never meant.
func sweepContainers() error {
	containers, err := filepath.Glob(filepath.Join(runcRoot, containerdNamespace, "*"))
	if err != nil {
		return err
	}
	var failed []error
	for _, container := range containers {
		root, id := filepath.Split(container)
		failed = append(failed, command("runc", "--root", root, "delete", "--force", id))
	}
	shims, err := shims()
	failed = append(failed, err)
	for _, shim := range shims {
		failed = append(failed, shim.stop(2*time.Second))
	}
	return errors.Join(failed...)
}

// shims finds the processes that were started by our containerd, dead or alive.
func shims() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		p, err := lookup(pid)
		if err != nil {
			continue // it has ended meanwhile
		}
		arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && isShim(arguments) {
			found = append(found, p)
		}
	}
	return found, nil
}

func isShim(cmdline []byte) bool {
	arguments := strings.Split(string(cmdline), "\x00")
	at := slices.Index(arguments, "-address")
	return strings.HasPrefix(filepath.Base(arguments[0]), "containerd-shim") &&
		at >= 0 && at+1 < len(arguments) && arguments[at+1] == containerdSocket
}

// shimSockets reads where shims listen: outside of our folders, in a place that
// all containerds share.
func shimSockets() []string {
	notes, _ := filepath.Glob(filepath.Join(containerdState, "io.containerd.runtime.v2.task", "*", "*", "address"))
	var sockets []string
	for _, note := range notes {
		if address, err := os.ReadFile(note); err == nil {
			sockets = append(sockets, strings.TrimPrefix(string(bytes.TrimSpace(address)), "unix://"))
		}
	}
	return sockets
}

// sweepSockets removes what shims that were killed could not.
func sweepSockets(sockets []string) error {
	var failed []error
	for _, socket := range sockets {
		if err := os.Remove(socket); !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// unmountBelow unmounts all that is mounted in the given folders, the innermost
// first. It detaches at once: a process that still holds a file there must not
// keep the folder from going.
func unmountBelow(dirs ...string) error {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var failed []error
	for _, point := range mountsBelow(string(table), dirs) {
		if err := syscall.Unmount(point, syscall.MNT_DETACH); err != nil {
			failed = append(failed, fmt.Errorf("unmount %s: %w", point, err))
		}
	}
	return errors.Join(failed...)
}

// mountsBelow reads the mount points in the given folders, the last mounted
// first.
func mountsBelow(table string, dirs []string) []string {
	var points []string
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		point := unescapeMount(fields[1])
		if slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(point, dir+"/") }) {
			points = append(points, point)
		}
	}
	slices.Reverse(points)
	return points
}

// unescapeMount undoes how the kernel writes blanks, tabs, newlines and
// backslashes in the mount table.
func unescapeMount(point string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(point)
}

// containerLogs is where the kubelet links the log of every container. It cannot
// be told another place, and removes a link only with its container.
const containerLogs = "/var/log/containers"

// sweepLogLinks removes the links that lead to our pods' logs.
func sweepLogLinks(dir string) error {
	links, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	var failed []error
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, stateDir+"/") {
			failed = append(failed, os.Remove(link))
		}
	}
	return errors.Join(failed...)
}
