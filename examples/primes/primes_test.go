package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tests run the program itself: the test binary, told by its environment to be it.
func TestMain(m *testing.M) {
	if os.Getenv("BE_THE_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

// Published: OEIS A006880 and A003618.
var known = []struct{ limit, primes, largest uint64 }{
	{10, 4, 7},
	{100, 25, 97},
	{1_000, 168, 997},
	{10_000, 1_229, 9_973},
	{1_000_000, 78_498, 999_983},
	{100_000_000, 5_761_455, 99_999_989},
}

func TestKnownCounts(t *testing.T) {
	for _, want := range known {
		s := newSieve(want.limit)
		got := state{Next: 3, Primes: 1, Largest: 2}
		for got.Next <= want.limit {
			end := min(got.Next+blockSize, want.limit+1)
			primes, largest := s.count(got.Next, end)
			got = state{Next: end, Primes: got.Primes + primes, Largest: max(got.Largest, largest)}
		}
		if got.Primes != want.primes || got.Largest != want.largest {
			t.Errorf("up to %d: %d primes, largest %d; want %d, %d", want.limit, got.Primes, got.Largest, want.primes, want.largest)
		}
	}
}

func TestBlocksOfAnySize(t *testing.T) {
	s := newSieve(10_000)
	for size := uint64(1); size < 40; size++ {
		primes := uint64(1)
		for low := uint64(3); low <= 10_000; low += size {
			n, _ := s.count(low, min(low+size, 10_001))
			primes += n
		}
		if primes != 1_229 {
			t.Errorf("in blocks of %d: %d primes, want 1229", size, primes)
		}
	}
}

func TestStopAndGoOn(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report")
	start := func(checkpoint string) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{"BE_THE_PROGRAM=1", "LIMIT=300000000", "LONGTASK_REPORT=" + report}
		if checkpoint != "" {
			cmd.Env = append(cmd.Env, "LONGTASK_CHECKPOINT="+checkpoint)
		}
		if err := os.WriteFile(report, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it listens to SIGTERM from here on
			t.Fatal(err)
		}
		return cmd
	}
	last := func() (line, string) {
		text, err := os.ReadFile(report)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		var l line
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &l); err != nil {
			t.Fatalf("%q: %v", lines, err)
		}
		checkpoint, _ := json.Marshal(l.Checkpoint)
		return l, string(checkpoint)
	}

	checkpoint, before := "", uint64(0)
	for range 2 {
		cmd := start(checkpoint)
		time.Sleep(50 * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != exitYield {
			t.Fatalf("exit code %d, want %d", code, exitYield)
		}
		var l line
		l, checkpoint = last()
		if l.Checkpoint.Next <= before || l.Done {
			t.Fatalf("no progress past %d: %s", before, checkpoint)
		}
		before = l.Checkpoint.Next
	}
	if err := start(checkpoint).Wait(); err != nil {
		t.Fatal(err)
	}
	l, _ := last()
	if want := (result{Limit: 300_000_000, Primes: 16_252_325, Largest: 299_999_977}); *l.Result != want || !l.Done {
		t.Errorf("result %+v, want %+v", *l.Result, want)
	}
}

func TestContinuesToAHigherLimit(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report")
	code, err := run("10000", `{"next":1001,"primes":168,"largest":997}`, report)
	if code != 0 || err != nil {
		t.Fatal(code, err)
	}
	text, _ := os.ReadFile(report)
	if want := `"result":{"limit":10000,"primes":1229,"largest":9973},"done":true`; !strings.Contains(string(text), want) {
		t.Errorf("%s lacks %s", text, want)
	}
}

func TestRefusesWhatItCannotRead(t *testing.T) {
	for _, bad := range [][2]string{{"many", ""}, {"2", ""}, {"-5", ""}, {"100", "{"}} {
		if code, err := run(bad[0], bad[1], ""); code != exitUsage || err == nil {
			t.Errorf("%q: exit code %d, error %v", bad, code, err)
		}
	}
}

func TestReportStaysShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	for n := range uint64(100) {
		if err := report(path, line{Checkpoint: &state{Next: n}, Progress: progressOf(state{Next: n}, 100)}); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || len(text) > fileLimit || !strings.Contains(string(text), `"next":99`) {
		t.Errorf("%d bytes, %v: %s", len(text), err, text)
	}
}
