package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
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

// task is what stays between attempts.
type task struct {
	t       *testing.T
	folder  string
	attempt int
	env     []string // beside the contract's
}

func newTask(t *testing.T) *task {
	t.Parallel()
	return &task{t: t, folder: t.TempDir()}
}

func (k *task) file(name string) string { return filepath.Join(k.folder, name) }

func (k *task) start(args ...string) *exec.Cmd {
	k.t.Helper()
	k.attempt++
	if err := os.WriteFile(k.file("report"), nil, 0o644); err != nil {
		k.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], append([]string{"--step-time=1ms", "--journal", k.file("journal")}, args...)...)
	cmd.Env = append([]string{
		"BE_THE_PROGRAM=1",
		"LONGTASK_RUN=1",
		"LONGTASK_SEGMENT=1",
		fmt.Sprintf("LONGTASK_ATTEMPT=%d", k.attempt),
		"LONGTASK_REPORT=" + k.file("report"),
	}, k.env...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	return cmd
}

func (k *task) wait(cmd *exec.Cmd, code int) {
	k.t.Helper()
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != code {
		k.t.Fatalf("exit code %d, want %d", got, code)
	}
}

func (k *task) run(code int, args ...string) {
	k.t.Helper()
	k.wait(k.start(args...), code)
}

// terminate sends SIGTERM once the journal has the event.
func (k *task) terminate(cmd *exec.Cmd, event string) {
	k.t.Helper()
	for i := 0; !strings.Contains(k.read("journal"), fmt.Sprintf(`"event":%q`, event)); i++ {
		if i > 1000 {
			k.t.Fatalf("no %s in the journal", event)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		k.t.Fatal(err)
	}
}

func (k *task) read(name string) string {
	text, err := os.ReadFile(k.file(name))
	if err != nil && !os.IsNotExist(err) {
		k.t.Fatal(err)
	}
	return string(text)
}

// journal is the journal in short: "start 0", "step 1", "exit 75".
func (k *task) journal() []string {
	k.t.Helper()
	var events []string
	for line := range strings.Lines(k.read("journal")) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			k.t.Fatalf("%q: %v", line, err)
		}
		if e.Code != nil {
			events = append(events, fmt.Sprint(e.Event, " ", *e.Code))
		} else {
			events = append(events, fmt.Sprint(e.Event, " ", e.Step))
		}
	}
	return events
}

func (k *task) wantJournal(want ...string) {
	k.t.Helper()
	if got := k.journal(); !reflect.DeepEqual(got, want) {
		k.t.Errorf("journal:\n got %v\nwant %v", got, want)
	}
}

func (k *task) wantReport(want ...string) {
	k.t.Helper()
	if got := strings.TrimSpace(k.read("report")); got != strings.Join(want, "\n") {
		k.t.Errorf("report:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func TestModelTask(t *testing.T) {
	k := newTask(t)
	k.run(0, "--steps=2")
	k.wantJournal("start 0", "step 1", "step 2", "exit 0")
	k.wantReport(
		`{"checkpoint":{"step":1},"progress":{"completed":1,"total":2,"unit":"steps"}}`,
		`{"checkpoint":{"step":2},"progress":{"completed":2,"total":2,"unit":"steps"}}`,
		`{"checkpoint":{"step":2},"progress":{"completed":2,"total":2,"unit":"steps"},"result":{"steps":2},"done":true}`,
	)
}

func TestYieldsOnTermAndResumes(t *testing.T) {
	k := newTask(t)
	cmd := k.start("--steps=3", "before=2: sleep forever")
	k.terminate(cmd, "rule")
	k.wait(cmd, 75)
	k.env = []string{`LONGTASK_CHECKPOINT={"step":1,"note":"$(HOME) $$"}`}
	k.run(0, "--steps=3")
	k.wantJournal("start 0", "step 1", "rule 1", "term 1", "exit 75", "start 1", "step 2", "step 3", "exit 0")
	if !strings.Contains(k.read("journal"), `$(HOME) $$`) {
		t.Error("the start entry lacks the checkpoint as received")
	}
}

func TestIgnoresTerm(t *testing.T) {
	k := newTask(t)
	cmd := k.start("--steps=2", "before=2: sleep 300ms", "term: ignore")
	k.terminate(cmd, "rule")
	k.wait(cmd, 0)
	k.wantJournal("start 0", "step 1", "rule 1", "term 1", "rule 1", "step 2", "exit 0")
}

func TestExitsZeroOnTerm(t *testing.T) {
	k := newTask(t)
	cmd := k.start("start: sleep forever", "term: checkpoint; exit 0")
	k.terminate(cmd, "rule")
	k.wait(cmd, 0)
	k.wantReport(`{"checkpoint":{"step":0},"progress":{"completed":0,"total":10,"unit":"steps"}}`)
}

func TestCrashesBeforeTheReport(t *testing.T) {
	k := newTask(t)
	k.run(3, "--steps=2", "attempt=1 step=2: exit 3")
	k.wantReport(`{"checkpoint":{"step":1},"progress":{"completed":1,"total":2,"unit":"steps"}}`)
	k.env = []string{`LONGTASK_CHECKPOINT={"step":1}`}
	k.run(0, "--steps=2", "attempt=1 step=2: exit 3")
	k.wantJournal("start 0", "step 1", "step 2", "rule 2", "exit 3", "start 1", "step 2", "exit 0")
}

func TestOnceAndTheJournalAsCheckpoint(t *testing.T) {
	k := newTask(t)
	args := []string{"--steps=2", "--resume=journal", "--report=none", "once before=2: exit 4"}
	k.run(4, args...)
	k.wantReport("")
	k.run(0, args...)
	k.wantJournal("start 0", "step 1", "rule 1", "exit 4", "start 1", "step 2", "exit 0")
}

func TestReportsWhatItIsTold(t *testing.T) {
	k := newTask(t)
	k.run(75, "--steps=3", `attempt=1: report {"resumeAfter": "%segments"}; write {"checkpoint": {"st\n; write torn; exit 75`)
	k.wantReport(`{"resumeAfter": "1s"}`, `{"checkpoint": {"st`, `torn`)
	k.run(5, "--steps=0", `end: checkpoint {"by": "attempt %attempt", "cost": "$(HOME)"}; exit 5`)
	k.wantReport(`{"checkpoint":{"by":"attempt 2","cost":"$(HOME)","step":0},"progress":{"completed":0,"total":0,"unit":"steps"}}`)
	k.run(0, "--steps=1", "step: ignore", "end: ignore")
	k.wantReport("")
	k.run(0, "--steps=0", "start: fill 100; empty", "end: ignore")
	k.wantReport("")
}

func TestReportsManyLinesAtOnce(t *testing.T) {
	k := newTask(t)
	k.run(0, "--steps=0", `start: lines 3 {"checkpoint": {"line": %n, "step": %step}}`, "end: ignore")
	k.wantReport(`{"checkpoint": {"line": 1, "step": 0}}`, `{"checkpoint": {"line": 2, "step": 0}}`, `{"checkpoint": {"line": 3, "step": 0}}`)
}

func TestWaitsUntilTheReportIsDrained(t *testing.T) {
	k := newTask(t)
	folder, err := os.MkdirTemp("/dev/shm", "report-") // in memory, as in a pod: a disk may count its blocks later
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	report := filepath.Join(folder, "report")
	k.env = []string{"LONGTASK_REPORT=" + report}
	cmd := k.start("--steps=0", "start: fill 64Ki; drained", "end: ignore")
	for full := false; !full; time.Sleep(5 * time.Millisecond) {
		info, err := os.Stat(report)
		full = err == nil && info.Size() == 64<<10
	}
	time.Sleep(100 * time.Millisecond)
	k.wantJournal("start 0", "rule 0")
	if err := os.Truncate(report, 100); err != nil {
		t.Fatal(err)
	}
	k.wait(cmd, 0)
}

func TestKeepsTheReportShort(t *testing.T) {
	k := newTask(t)
	k.run(0, "--steps=200", "--step-time=0")
	if size := len(k.read("report")); size > reportLimit {
		t.Errorf("the report has %d bytes", size)
	}
	lines := strings.Split(strings.TrimSpace(k.read("report")), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, `"done":true`) || !strings.Contains(last, `{"step":200}`) {
		t.Errorf("last line %s", last)
	}
}

func TestNoticesAnOverlap(t *testing.T) {
	k := newTask(t)
	first := k.start("start: sleep forever")
	for !strings.Contains(k.read("journal"), "rule") {
		time.Sleep(5 * time.Millisecond)
	}
	k.run(0, "--steps=0")
	k.terminate(first, "rule")
	k.wait(first, 75)
	if got := k.journal(); got[2] != "overlap 0" {
		t.Errorf("journal %v", got)
	}
}

func TestWaitsForAFile(t *testing.T) {
	k := newTask(t)
	cmd := k.start("--steps=0", "start: wait "+k.file("go"))
	time.Sleep(100 * time.Millisecond)
	if err := os.WriteFile(k.file("go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	k.wait(cmd, 0)
}

func TestAllocatesAndSpawns(t *testing.T) {
	k := newTask(t)
	k.run(0, "--steps=0", "start: allocate 8Mi; child allocate 8Mi; child exit 9")
	k.wantJournal("start 0", "rule 0", "exit 0")
}

func TestStores(t *testing.T) {
	k := newTask(t)
	k.env = append(k.env, "TMPDIR="+k.folder)
	k.run(0, "--steps=0", "start: store 64Ki; store 1Mi")
	stored, err := filepath.Glob(k.file("stored-*"))
	if err != nil || len(stored) != 2 {
		t.Fatalf("stored %q, %v", stored, err)
	}
	sizes := int64(0)
	for _, file := range stored {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		sizes += info.Size()
	}
	if sizes != 64<<10+1<<20 {
		t.Errorf("stored %d bytes", sizes)
	}
}

func TestRefusesBadArguments(t *testing.T) {
	k := newTask(t)
	k.run(64, "term: explode")
	k.run(64, "--resume=memory")
	k.env = []string{"LONGTASK_CHECKPOINT=[1"}
	k.run(70)
}

func TestFilesThatAreRestoredAreCheckedByteForByte(t *testing.T) {
	k := newTask(t)
	directory := k.file("checkpoints")
	k.env = []string{"LONGTASK_CHECKPOINT_DIR=" + directory}
	if err := os.Mkdir(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	k.wait(k.start("--steps=3", "--report=files", "--resume=files", "step=2: save; exit 75"), 75)
	restored := filepath.Join(directory, "restored")
	if err := os.Rename(filepath.Join(directory, "step-2"), restored); err != nil {
		t.Fatal(err)
	}
	k.wait(k.start("--steps=3", "--report=files", "--resume=files"), 0)
	if got := strings.Join(k.journal(), ", "); !strings.HasSuffix(got, "exit 75, start 2, step 3, exit 0") {
		t.Errorf("the journal says %s", got)
	}
	for what, spoil := range map[string]func() error{
		"another mode":   func() error { return os.Chmod(filepath.Join(restored, "parts", "tool"), 0o700) },
		"another byte":   func() error { return os.WriteFile(filepath.Join(restored, "parts", "data"), []byte("x"), 0o600) },
		"a missing link": func() error { return os.Remove(filepath.Join(restored, "newest")) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(what, err)
		}
		k.wait(k.start("--steps=3", "--resume=files"), 70)
	}
}
