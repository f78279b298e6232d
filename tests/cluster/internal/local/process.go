package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process identifies a running program for longer than a pid can: pids are given
// out again, a pid together with its start time (in clock ticks since boot) is
// not.
type process struct {
	pid   int
	start uint64
}

// inheritedLock is the descriptor of the lock in a child: the first after the
// standard ones. It closes, and so lets go, when the child becomes the program.
const inheritedLock = 3

func pidFile(component string) string { return runPath(component + ".pid") }

// Become turns this process into a component: it notes its own pid, then
// replaces itself by the program, which keeps pid and start time. So there is no
// moment at which a component runs and no file tells of it, even when the `up`
// that started it is killed.
func Become(component string, argv []string) error {
	syscall.CloseOnExec(inheritedLock)
	self, err := lookup(os.Getpid())
	if err != nil {
		return err
	}
	if err := writeFile(pidFile(component), []byte(self.String()), 0o644); err != nil {
		return err
	}
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return syscall.Exec(program, argv, os.Environ())
}

func (p process) String() string { return fmt.Sprintf("%d %d\n", p.pid, p.start) }

// running gives the process of a component, if there is one.
func running(component string) (process, bool) {
	text, err := os.ReadFile(pidFile(component))
	if err != nil {
		return process{}, false
	}
	var p process
	if _, err := fmt.Sscan(string(text), &p.pid, &p.start); err != nil {
		return process{}, false
	}
	return p, p.alive()
}

func (p process) alive() bool {
	now, err := lookup(p.pid)
	return err == nil && now == p
}

// hasOtherThreads says whether there are threads beside the first one.
func hasOtherThreads(pid int) bool {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && len(threads) > 1
}

var errNoProcess = errors.New("no such process")

// lookup finds the process that has a pid now. One that is dead and only waits
// for its parent to notice counts as gone, but not while threads of it are still
// ending: they hold its files and its ports.
func lookup(pid int) (process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, errNoProcess
	}
	state, start, err := parseStat(string(stat))
	if err != nil {
		return process{}, err
	}
	if state == "X" || state == "Z" && !hasOtherThreads(pid) {
		return process{}, errNoProcess
	}
	return process{pid, start}, nil
}

// parseStat reads state and start time: the first and the twentieth field after
// the program's name, which stands in parentheses and may hold any character.
func parseStat(stat string) (state string, start uint64, err error) {
	_, rest, found := cutLast(stat, ")")
	fields := strings.Fields(rest)
	if !found || len(fields) < 20 {
		return "", 0, fmt.Errorf("cannot read process state %q", stat)
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return fields[0], start, err
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// stop asks a process to end, and makes it when it has not within a time.
func (p process) stop(within time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if p.waitGone(within) {
		return nil
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if !p.waitGone(10 * time.Second) {
		return fmt.Errorf("process %d does not end, even after SIGKILL", p.pid)
	}
	return nil
}

// signal cannot hit another process that got the same pid meanwhile: the handle
// is taken (a pidfd) before the identity is checked.
func (p process) signal(signal os.Signal) error {
	handle, err := os.FindProcess(p.pid)
	if err != nil {
		return err
	}
	defer handle.Release()
	if !p.alive() {
		return nil
	}
	if err := handle.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (p process) waitGone(within time.Duration) bool {
	for end := time.Now().Add(within); p.alive(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
