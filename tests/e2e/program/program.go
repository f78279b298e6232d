package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	exitYield    = 75 // EX_TEMPFAIL: "checkpointed, run me again"
	exitSoftware = 70 // EX_SOFTWARE: the checkpoint is not one of ours
)

type program struct {
	settings settings
	attempt  attempt
	journal  *journal
	report   *reportFile
	term     <-chan os.Signal

	step     int  // the last step that is done
	stopping bool // SIGTERM has come; its rules run once
	hoard    [][]byte
}

// ended is the error that unwinds to run when an action ends the program.
type ended int

func (code ended) Error() string { return "exit " + strconv.Itoa(int(code)) }

// run works until the end and returns the exit code.
func (p *program) run() int {
	err := p.work()
	code := exitSoftware
	if end, ok := err.(ended); ok {
		code = int(end)
	} else {
		fmt.Fprintln(os.Stderr, "program:", err)
	}
	p.journal.write(entry{Event: "exit", Step: p.step, Code: &code})
	return code
}

func (p *program) work() error {
	var err error
	if p.step, err = p.resumeStep(); err != nil {
		return err
	}
	p.journal.write(entry{Event: "start", Step: p.step, Env: p.attempt.env})
	if _, err := p.happens("start", p.step); err != nil {
		return err
	}
	for p.step < p.settings.steps {
		if _, err := p.happens("before", p.step+1); err != nil {
			return err
		}
		if err := p.pause(p.settings.stepTime); err != nil {
			return err
		}
		p.step++
		p.journal.write(entry{Event: "step", Step: p.step})
		ignored, err := p.happens("step", p.step)
		if err != nil {
			return err
		}
		if !ignored {
			p.reportStep()
		}
	}
	ignored, err := p.happens("end", p.step)
	if err != nil {
		return err
	}
	if !ignored {
		last := fields{Progress: p.progress(), Result: map[string]int{"steps": p.step}, Done: true}
		if p.settings.reports != "files" {
			last.Checkpoint = p.checkpoint("{}")
		}
		p.report.add(last)
	}
	return ended(0)
}

// resumeStep is the last step that an earlier attempt did.
func (p *program) resumeStep() (int, error) {
	switch p.settings.resume {
	case "journal":
		return p.journal.lastStep, nil
	case "files":
		return p.files().restored()
	case "report":
		if p.attempt.checkpoint == "" {
			return 0, nil
		}
		var checkpoint struct{ Step int }
		if err := json.Unmarshal([]byte(p.attempt.checkpoint), &checkpoint); err != nil {
			return 0, fmt.Errorf("LONGTASK_CHECKPOINT=%q: %w", p.attempt.checkpoint, err)
		}
		return checkpoint.Step, nil
	default:
		return 0, nil
	}
}

// happens runs the rules for an event, in the order given. It says whether one of them replaces what the program
// would do by itself, and returns an error when one ends the program.
func (p *program) happens(event string, step int) (ignored bool, err error) {
	for _, r := range p.settings.rules {
		if r.event != event || !p.applies(r, step) {
			continue
		}
		p.journal.write(entry{Event: "rule", Step: p.step, Rule: r.text})
		for _, a := range r.actions {
			if a.name == "ignore" {
				ignored = true
			} else if err := p.act(a); err != nil {
				return ignored, err
			}
		}
	}
	return ignored, nil
}

func (p *program) applies(r rule, step int) bool {
	for _, g := range r.guards {
		have := map[string]int{
			"run":     p.attempt.run,
			"segment": p.attempt.segment,
			"attempt": p.attempt.number,
			"step":    step,
		}[g.subject]
		if !g.holds(have) {
			return false
		}
	}
	return !r.once || !p.journal.rulesDone[r.text]
}

func (p *program) act(a action) error {
	switch a.name {
	case "checkpoint":
		p.report.add(fields{Checkpoint: p.checkpoint(a.argument), Progress: p.progress()})
	case "report":
		p.report.addLine([]byte(p.fillIn(a.argument)))
	case "write":
		p.report.append([]byte(p.fillIn(a.argument)))
	case "lines":
		p.report.append(p.lines(a))
	case "fill":
		p.report.append([]byte(strings.Repeat("x", a.number)))
	case "empty":
		p.report.empty()
	case "log":
		fmt.Fprintln(os.Stderr, p.fillIn(a.argument))
	case "wait":
		return p.waitFor(a.argument)
	case "drained":
		return p.untilDrained()
	case "sleep":
		return p.pause(a.duration)
	case "allocate":
		return p.allocate(a.number)
	case "store":
		store(a.number)
	case "save":
		p.save("")
	case "escape":
		p.save(a.argument)
	case "child":
		p.runChild(*a.child)
	case "exit":
		return ended(a.number)
	}
	return nil
}

func (p *program) fillIn(text string) string {
	return fillIn(text, p.step, p.attempt.number, p.attempt.segment, p.attempt.run)
}

func (p *program) reportStep() {
	if p.settings.reports == "files" {
		p.save("")
		return
	}
	var f fields
	if p.settings.reports == "both" || p.settings.reports == "checkpoint" {
		f.Checkpoint = p.checkpoint("{}")
	}
	if p.settings.reports == "both" || p.settings.reports == "progress" {
		f.Progress = p.progress()
	}
	if f.Checkpoint != nil || f.Progress != nil {
		p.report.add(f)
	}
}

// save writes a checkpoint into the directory, with a link to escape if that is not empty, and reports its path.
func (p *program) save(escape string) {
	path, err := p.files().write(p.step)
	if err == nil && escape != "" {
		err = p.files().escape(path, escape)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "program: save:", err)
		return
	}
	name, _ := json.Marshal(path)
	p.report.add(fields{Checkpoint: map[string]json.RawMessage{"path": name}, Progress: p.progress()})
}

func (p *program) files() checkpoints {
	return checkpoints{directory: os.Getenv("LONGTASK_CHECKPOINT_DIR"), size: p.settings.size}
}

// checkpoint is the last step done, beside whatever the rule adds.
func (p *program) checkpoint(extra string) map[string]json.RawMessage {
	object := map[string]json.RawMessage{}
	_ = json.Unmarshal([]byte(p.fillIn(extra)), &object) // parseAction has checked it
	if _, given := object["step"]; !given {
		object["step"] = json.RawMessage(strconv.Itoa(p.step))
	}
	return object
}

func (p *program) progress() *progress {
	return &progress{Completed: p.step, Total: p.settings.steps, Unit: "steps"}
}

// pause waits, for ever if the duration is negative, and lets SIGTERM in.
func (p *program) pause(d time.Duration) error {
	var over <-chan time.Time
	if d >= 0 {
		over = time.After(d)
	}
	for {
		if !p.stopping {
			select { // before a pause of no length, too
			case <-p.term:
				if err := p.stop(); err != nil {
					return err
				}
			default:
			}
		}
		select {
		case <-over:
			return nil
		case <-p.term:
			if p.stopping {
				continue
			}
			if err := p.stop(); err != nil {
				return err
			}
		}
	}
}

// stop is what the program does on SIGTERM: it returns nil to go on working.
func (p *program) stop() error {
	p.stopping = true
	p.journal.write(entry{Event: "term", Step: p.step})
	ignored, err := p.happens("term", p.step)
	if err != nil || ignored {
		return err
	}
	p.reportStep()
	return ended(exitYield)
}

// waitFor pauses until the file exists.
func (p *program) waitFor(path string) error {
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		if err := p.pause(50 * time.Millisecond); err != nil {
			return err
		}
	}
}

// lines are many lines of one form, so that all can be written at once.
func (p *program) lines(a action) []byte {
	var all strings.Builder
	for n := 1; n <= a.number; n++ {
		all.WriteString(strings.ReplaceAll(p.fillIn(a.argument), "%n", strconv.Itoa(n)) + "\n")
	}
	return []byte(all.String())
}

// untilDrained pauses until somebody has freed what was written to the report, but for the page in which it ends.
func (p *program) untilDrained() error {
	for p.report.blocks() > blocksOfPage {
		if err := p.pause(10 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// A container runtime looks for kills for want of memory only from shortly after the container's start: a kill before that is an
// exit with 137 like any other (seen with containerd 1.6).
const killsAreNoticedAfter = time.Second

// allocate takes memory and touches every page, 1 MiB at a time. If size is negative it does so without end, and not before a
// kill is called one.
func (p *program) allocate(size int) error {
	const piece = 1 << 20
	if size < 0 {
		if err := p.pause(killsAreNoticedAfter); err != nil {
			return err
		}
	}
	for taken := 0; size < 0 || taken < size; taken += piece {
		block := make([]byte, piece)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		p.hoard = append(p.hoard, block)
		if err := p.pause(0); err != nil {
			return err
		}
	}
	return nil
}

// store puts a file of so many bytes on the disk, where it stays.
func store(size int) {
	file, err := os.CreateTemp("", "stored-")
	if err == nil {
		_, err = file.Write(make([]byte, size))
		err = firstOf(err, file.Sync(), file.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "program: store:", err)
	}
}

// runChild does one action in a child process, whose end, however bad, is only logged.
func (p *program) runChild(a action) {
	rule := strings.TrimSpace("start: " + a.name + " " + a.argument)
	child := exec.Command(os.Args[0], "--steps=0", rule)
	child.Env = slices.DeleteFunc(os.Environ(), func(pair string) bool {
		return strings.HasPrefix(pair, "LONGTASK_")
	})
	child.Stderr = os.Stderr
	err := child.Run()
	fmt.Fprintf(os.Stderr, "child %q ended: %v\n", rule, err)
}
