package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"longtask.dev/tests/cluster/internal/progress"
)

// component is one program of the cluster.
type component struct {
	name   string
	argv   []string
	listen []string                    // addresses that must be free before it starts
	ready  func(context.Context) error // nil: it does its work
	grace  time.Duration               // how long it may take to stop
}

// ensure starts a component unless it runs, and waits until it is ready.
func (c component) ensure(ctx context.Context, lock *os.File, say *progress.Printer) error {
	if c.healthy(ctx) {
		return nil
	}
	if c.recovers(ctx) {
		return nil
	}
	say.Begin("starting %s", c.name)
	if err := c.stop(); err != nil {
		return say.Fail(err)
	}
	exited, err := c.start(lock)
	if err != nil {
		return say.Fail(err)
	}
	if err := c.waitReady(ctx, exited, readyTimeout); err != nil {
		return say.Fail(c.explain(err))
	}
	say.Done("ready")
	return nil
}

func (c component) healthy(ctx context.Context) bool {
	_, ok := running(c.name)
	return ok && c.ready(ctx) == nil
}

// recovers gives a component that runs and does not answer a while: the machine
// may be busy, or an `up` that was killed has started it a moment ago.
func (c component) recovers(ctx context.Context) bool {
	p, ok := running(c.name)
	if !ok {
		return false
	}
	exited := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for p.alive() && ctx.Err() == nil {
			time.Sleep(50 * time.Millisecond)
		}
		close(exited)
	}()
	return c.waitReady(ctx, exited, patience) == nil
}

// start lets the program run on when this one ends, with an environment that is
// the same from whatever shell or sudo it was started. The channel closes when
// it has exited.
//
// The child holds the lock too until it has noted its pid: killed in between,
// this command would leave a component of which the next one knows nothing.
func (c component) start(lock *os.File) (exited <-chan struct{}, err error) {
	for _, address := range c.listen {
		if err := checkFree(address); err != nil {
			return nil, err
		}
	}
	log, err := openLog(c.name)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child := exec.Command(self, append([]string{"become", c.name}, c.argv...)...)
	child.Dir = stateDir
	child.Env = []string{"HOME=/root", "PATH=" + systemPath}
	child.Stdout, child.Stderr = log, log
	child.ExtraFiles = []*os.File{lock}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { child.Wait(); close(done) }()
	return done, nil
}

// systemPath has the sbin folders, which a user's own PATH may lack.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// checkFree finds out that another program has taken an address, which would
// answer in place of ours.
func checkFree(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s is taken by another program (see `ss -ltnp`): %w", address, err)
	}
	return listener.Close()
}

// openLog starts a new log; the last one is kept for the reason of a crash.
func openLog(component string) (*os.File, error) {
	file := logFile(component)
	if err := os.Rename(file, file+".previous"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return os.Create(file)
}

func (c component) waitReady(ctx context.Context, exited <-chan struct{}, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := c.ready(ctx)
		if _, alive := running(c.name); alive && err == nil {
			return nil
		}
		select {
		case <-exited:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("not ready in time: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// explain adds what the component itself said last.
func (c component) explain(err error) error {
	return fmt.Errorf("%s: %w; the end of %s:\n%s", c.name, err, logFile(c.name), tail(logFile(c.name), 15))
}

func tail(file string, lines int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return "    " + strings.Join(all[max(0, len(all)-lines):], "\n    ")
}

// stop ends a component if it runs.
func (c component) stop() error {
	if p, ok := running(c.name); ok {
		if err := p.stop(c.grace); err != nil {
			return fmt.Errorf("stop %s: %w", c.name, err)
		}
	}
	if err := os.Remove(pidFile(c.name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
