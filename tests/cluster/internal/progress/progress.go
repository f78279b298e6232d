// Package progress tells a person what is being done and how long it took.
package progress

import (
	"fmt"
	"io"
	"os"
	"time"
)

// Printer prints one line for each step: "starting etcd ... ready in 0.8 s". A
// step that takes long shows now and then that it lives.
type Printer struct {
	out      io.Writer
	terminal bool
	line     string
	since    time.Time
	stop     chan struct{}
	stopped  chan struct{}
}

// To prints to a file, which may be a terminal.
func To(file *os.File) *Printer {
	info, err := file.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &Printer{out: file, terminal: terminal}
}

// Quiet prints nothing.
func Quiet() *Printer { return &Printer{out: io.Discard} }

// Say prints a line of its own.
func (p *Printer) Say(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }

// Begin opens the line of a step.
func (p *Printer) Begin(format string, args ...any) {
	p.line = fmt.Sprintf(format, args...)
	p.since = time.Now()
	fmt.Fprintf(p.out, "%s ...", p.line)
	p.stop, p.stopped = make(chan struct{}), make(chan struct{})
	go p.beat()
}

// beat shows the time: in place on a terminal, and seldom in a log, which keeps
// every word.
func (p *Printer) beat() {
	defer close(p.stopped)
	every := 30 * time.Second
	if p.terminal {
		every = time.Second
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-ticker.C:
			past := now.Sub(p.since).Round(time.Second)
			if p.terminal {
				fmt.Fprintf(p.out, "\r%s ... %s", p.line, past)
			} else {
				fmt.Fprintf(p.out, " %s", past)
			}
		}
	}
}

// Done closes the line of a step that went well.
func (p *Printer) Done(word string) {
	p.end("%s in %.1f s", word, time.Since(p.since).Seconds())
}

// Fail closes the line of a step that did not, and hands the error on.
func (p *Printer) Fail(err error) error {
	p.end("failed")
	return err
}

func (p *Printer) end(format string, args ...any) {
	close(p.stop)
	<-p.stopped
	if p.terminal {
		fmt.Fprintf(p.out, "\r%s ...", p.line)
	}
	fmt.Fprintf(p.out, " "+format+"\n", args...)
}

// Step does a step between Begin and Done or Fail.
func (p *Printer) Step(word string, do func() error, format string, args ...any) error {
	p.Begin(format, args...)
	if err := do(); err != nil {
		return p.Fail(err)
	}
	p.Done(word)
	return nil
}
