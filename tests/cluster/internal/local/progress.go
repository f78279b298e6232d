package local

import (
	"fmt"
	"io"
	"time"
)

// Progress tells a person what is being done and how long it took, one line for
// each step: "starting etcd ... ready in 0.8 s".
type Progress struct {
	Out   io.Writer
	since time.Time
}

// Begin opens a line.
func (p *Progress) Begin(format string, args ...any) {
	p.since = time.Now()
	fmt.Fprintf(p.Out, format+" ... ", args...)
}

// Done closes the line of a step that went well.
func (p *Progress) Done(word string) {
	fmt.Fprintf(p.Out, "%s in %.1f s\n", word, time.Since(p.since).Seconds())
}

// Fail closes the line of a step that did not, and hands the error on.
func (p *Progress) Fail(err error) error {
	fmt.Fprintln(p.Out, "failed")
	return err
}

// Say prints a line of its own.
func (p *Progress) Say(format string, args ...any) { fmt.Fprintf(p.Out, format+"\n", args...) }
