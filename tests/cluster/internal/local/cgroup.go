package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cgroup holds all pods. A kubelet takes every group below its root for a pod of
// its own, and kills what it does not know: two that share the machine's root
// would kill each other's pods.
const cgroup = "longtask-cluster"

const cgroupMount = "/sys/fs/cgroup"

// ensureCgroup makes the group, which the kubelet wants to find: in version 1 of
// cgroups one for each controller, in version 2 a single one, to which the
// machine's root must lend its controllers.
func ensureCgroup() error {
	roots, unified, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.Mkdir(filepath.Join(root, cgroup), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if unified {
		lendControllers(cgroupMount)
	}
	return nil
}

// cgroupReady says in which hierarchy the group is not.
func cgroupReady() error {
	roots, _, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if _, err := os.Stat(filepath.Join(root, cgroup)); err != nil {
			return err
		}
	}
	return nil
}

// cgroupRoots gives the roots of all hierarchies, and whether there is only one.
func cgroupRoots() (roots []string, unified bool, err error) {
	if _, err := os.Stat(filepath.Join(cgroupMount, "cgroup.controllers")); err == nil {
		return []string{cgroupMount}, true, nil
	}
	roots, err = filepath.Glob(filepath.Join(cgroupMount, "*", "cgroup.procs"))
	if len(roots) == 0 && err == nil {
		err = fmt.Errorf("no cgroups are mounted at %s", cgroupMount)
	}
	for i := range roots {
		roots[i] = filepath.Dir(roots[i])
	}
	return roots, false, err
}

// lendControllers asks for each controller by itself, since one that the machine
// lacks would spoil the request for all. The kubelet says which it misses.
func lendControllers(root string) {
	for _, controller := range []string{"cpu", "cpuset", "memory", "pids", "hugetlb", "io"} {
		os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
	}
}

// removeCgroup removes the group, after killing what still runs in it: the
// processes of containers whose record was lost.
func removeCgroup() error {
	roots, _, err := cgroupRoots()
	if err != nil {
		return err
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var left []error
		for _, root := range roots {
			left = append(left, emptyAndRemove(filepath.Join(root, cgroup)))
		}
		err := errors.Join(left...)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// emptyAndRemove removes a group and those below it. The kernel lets go of a
// killed process a moment later: until then this fails, and is to be tried again.
func emptyAndRemove(group string) error {
	below, err := os.ReadDir(group)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, child := range below {
		if child.IsDir() {
			if err := emptyAndRemove(filepath.Join(group, child.Name())); err != nil {
				return err
			}
		}
	}
	killAll(group)
	if err := syscall.Rmdir(group); err != nil {
		return fmt.Errorf("remove cgroup %s: %w", group, err)
	}
	return nil
}

func killAll(group string) {
	list, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	for _, line := range strings.Fields(string(list)) {
		if pid, err := strconv.Atoi(line); err == nil && pid > 0 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
