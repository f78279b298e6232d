package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// entry is one line of the journal.
type entry struct {
	Time    string            `json:"time"`
	Event   string            `json:"event"` // overlap, start, rule, step, term, exit
	Run     int               `json:"run"`
	Segment int               `json:"segment"`
	Attempt int               `json:"attempt"`
	Step    int               `json:"step"`
	Rule    string            `json:"rule,omitempty"`
	Code    *int              `json:"code,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
}

// journal appends what happens to a file that outlives the pod, and to standard output. The file is locked for the
// life of the process, so two attempts at work at once leave the entry "overlap".
type journal struct {
	attempt attempt
	outputs []io.Writer

	lastStep  int             // in the journal at the start
	rulesDone map[string]bool // likewise
}

func openJournal(path string, stdout io.Writer, a attempt) (*journal, error) {
	j := &journal{attempt: a, outputs: []io.Writer{stdout}, rulesDone: map[string]bool{}}
	if path == "" {
		return j, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j.outputs = append(j.outputs, file)
	if err := j.readBack(file); err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		j.write(entry{Event: "overlap"})
	}
	return j, nil
}

func (j *journal) readBack(file io.Reader) error {
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e entry
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Run != j.attempt.run {
			continue
		}
		switch e.Event {
		case "step":
			j.lastStep = e.Step
		case "rule":
			j.rulesDone[e.Rule] = true
		}
	}
	return lines.Err()
}

// write adds the time and the attempt. One line is one write, so that lines of two processes never mix.
func (j *journal) write(e entry) {
	e.Time = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	e.Run, e.Segment, e.Attempt = j.attempt.run, j.attempt.segment, j.attempt.number
	if e.Event == "rule" {
		j.rulesDone[e.Rule] = true
	}
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and numbers only
	}
	for _, out := range j.outputs {
		if _, err := out.Write(append(line, '\n')); err != nil {
			fmt.Fprintln(os.Stderr, "program: journal:", err)
		}
	}
}
