package local

import (
	"os/exec"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const fields = " S 1 10 10 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 200"
	cases := []struct {
		name, stat string
		state      string
		start      uint64
		bad        bool
	}{
		{name: "plain", stat: "10 (etcd)" + fields, state: "S", start: 98765},
		{name: "parentheses and blanks in the name", stat: "10 (a) R (b c)" + fields, state: "S", start: 98765},
		{name: "cut off", stat: "10 (etcd) S 1 10", bad: true},
		{name: "empty", bad: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			state, start, err := parseStat(c.stat)
			if state != c.state && !c.bad || start != c.start || (err != nil) != c.bad {
				t.Errorf("got %q %d %v", state, start, err)
			}
		})
	}
}

func TestAnotherProcessWithTheSamePidIsNotMeant(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := lookup(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	impostor := process{p.pid, p.start + 1}
	if impostor.alive() {
		t.Error("a process that started at another time was taken for it")
	}
	if err := impostor.stop(time.Second); err != nil {
		t.Error(err)
	}
	if !p.alive() {
		t.Error("it was hit by a signal for another")
	}
	go child.Wait()
	if err := p.stop(time.Second); err != nil {
		t.Error(err)
	}
	if p.alive() {
		t.Error("it was not stopped")
	}
}

func TestAProcessThatIgnoresSIGTERMIsKilled(t *testing.T) {
	child := exec.Command("sh", "-c", `trap "" TERM; echo; while :; do sleep 60; done`)
	ready, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p, err := lookup(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	go child.Wait()
	if err := p.stop(100 * time.Millisecond); err != nil || p.alive() {
		t.Errorf("alive: %v, error: %v", p.alive(), err)
	}
}
