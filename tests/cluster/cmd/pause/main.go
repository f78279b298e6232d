// Command pause holds a pod's namespaces open: it sleeps until it is told to stop.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A container's first process has no default signal actions: without a
	// handler, SIGTERM would be ignored and every pod would end by SIGKILL.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	reapOrphans()
	<-stop
}

// reapOrphans leaves dead children to the kernel. There are some when the
// containers of a pod share its process namespace: their orphans come here.
func reapOrphans() { signal.Ignore(syscall.SIGCHLD) }
