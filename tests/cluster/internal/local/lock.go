package local

import (
	"errors"
	"os"
	"syscall"

	"longtask.dev/tests/cluster/internal/progress"
)

// takeLock makes sure that one command at a time changes the cluster. The kernel
// lets go of the lock when the last process that holds it ends, however it ends.
func takeLock(say *progress.Printer) (*os.File, error) {
	lock, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		say.Say("another cluster command is at work: waiting for it")
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	}
	return lock, err
}
