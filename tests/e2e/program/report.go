package main

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"
)

const (
	reportLimit  = 2048 // the reader may see no more of the file
	blocksOfPage = 8    // of 512 bytes
)

// fields are those of a report line; all are optional.
type fields struct {
	Checkpoint map[string]json.RawMessage `json:"checkpoint,omitempty"`
	Progress   *progress                  `json:"progress,omitempty"`
	Result     map[string]int             `json:"result,omitempty"`
	Done       bool                       `json:"done,omitempty"`
}

type progress struct {
	Completed int    `json:"completed"`
	Total     int    `json:"total"`
	Unit      string `json:"unit"`
}

// reportFile is $LONGTASK_REPORT. Without a path it does nothing, so that the program also runs by hand.
type reportFile struct{ path string }

// add appends a line as the task contract wants it.
func (r *reportFile) add(f fields) {
	line, err := json.Marshal(f)
	if err != nil {
		fmt.Fprintln(os.Stderr, "program: report:", err)
		return
	}
	r.addLine(line)
}

// addLine empties the file first when the line would take it past the limit.
func (r *reportFile) addLine(line []byte) {
	if info, err := os.Stat(r.path); err == nil && info.Size()+int64(len(line))+1 > reportLimit {
		r.empty()
	}
	r.append(append(line, '\n'))
}

// append writes bytes as they are: torn lines and garbage too.
func (r *reportFile) append(text []byte) {
	if r.path == "" {
		return
	}
	file, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err == nil {
		_, err = file.Write(text)
		err = firstOf(err, file.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "program: report:", err)
	}
}

func (r *reportFile) empty() {
	if r.path == "" {
		return
	}
	if err := os.Truncate(r.path, 0); err != nil && !os.IsNotExist(err) {
		fmt.Fprintln(os.Stderr, "program: report:", err)
	}
}

// blocks is how much room the report takes, in blocks of 512 bytes.
func (r *reportFile) blocks() int64 {
	var info syscall.Stat_t
	if err := syscall.Stat(r.path, &info); err != nil {
		fmt.Fprintln(os.Stderr, "program: report:", err)
		return 0
	}
	return info.Blocks
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
