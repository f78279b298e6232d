package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// What the operator's reader is sure to see of the report file.
const (
	lineLimit = 1024
	fileLimit = 2048
)

// line is one line of the report; all fields are optional.
type line struct {
	Checkpoint *state    `json:"checkpoint,omitempty"`
	Progress   *progress `json:"progress,omitempty"`
	Result     *result   `json:"result,omitempty"`
	Done       bool      `json:"done,omitempty"`
}

type progress struct {
	Completed uint64 `json:"completed"`
	Total     uint64 `json:"total"`
	Unit      string `json:"unit"`
}

type result struct {
	Limit   uint64 `json:"limit"`
	Primes  uint64 `json:"primes"`
	Largest uint64 `json:"largest"`
}

func progressOf(at state, limit uint64) *progress {
	return &progress{Completed: at.Next - 1, Total: limit, Unit: "numbers"}
}

// report appends a line, to a file emptied first when the line would make it too long.
func report(path string, l line) error {
	if path == "" {
		return nil // run by hand
	}
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if len(text) > lineLimit {
		return fmt.Errorf("a report line has at most %d bytes, this one %d", lineLimit, len(text))
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size()+int64(len(text)) > fileLimit {
		if err := file.Truncate(0); err != nil {
			return err
		}
	}
	_, err = file.Write(text)
	return err
}
