// Command program is a LongTask program whose behaviour a test writes down in its arguments.
//
// Left alone it is a model task: it works through a number of steps, reports a checkpoint after each, yields on
// SIGTERM and says when it is done. Rules make it misbehave at a chosen moment: see README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const usage = `Usage: program [flags] [rule ...]

A rule is 'WHEN: ACTION; ACTION ...', for example
  'attempt=1 step=3: exit 1'       crash after the third step, once
  'term: ignore'                   go on working after SIGTERM
  'start: sleep forever'           hang

Flags:
`

func main() {
	settings, err := parseArguments(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "program:", err)
		os.Exit(64) // EX_USAGE
	}
	attempt, err := attemptFrom(os.LookupEnv, os.Environ())
	if err != nil {
		fmt.Fprintln(os.Stderr, "program:", err)
		os.Exit(65) // EX_DATAERR
	}
	journal, err := openJournal(settings.journal, os.Stdout, attempt)
	if err != nil {
		fmt.Fprintln(os.Stderr, "program:", err)
		os.Exit(74) // EX_IOERR
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)

	p := &program{
		settings: settings,
		attempt:  attempt,
		journal:  journal,
		report:   &reportFile{path: os.Getenv("LONGTASK_REPORT")},
		term:     term,
	}
	os.Exit(p.run())
}

// settings is what the arguments say.
type settings struct {
	steps    int
	stepTime time.Duration
	journal  string
	resume   string
	reports  string
	size     int
	rules    []rule
}

func parseArguments(args []string, out io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("program", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprint(out, usage)
		flags.PrintDefaults()
	}
	flags.IntVar(&s.steps, "steps", 10, "how many `steps` the whole work has")
	flags.DurationVar(&s.stepTime, "step-time", time.Second, "how long one step takes")
	flags.StringVar(&s.journal, "journal", "", "append every event to this `file` as a JSON line (standard output always gets them)")
	flags.StringVar(&s.resume, "resume", "report", "resume from `report` (the checkpoint in LONGTASK_CHECKPOINT), files (what was restored), journal or none")
	flags.StringVar(&s.reports, "report", "both", "what to report after a step: `both`, checkpoint, progress, files (a checkpoint in the directory) or none")
	size := flags.String("size", "4Ki", "the `size` of the largest file of a checkpoint in the directory")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	var err error
	if s.size, err = parseSize(*size); err != nil {
		return s, fmt.Errorf("--size=%s: %w", *size, err)
	}
	switch s.resume {
	case "report", "files", "none":
	case "journal":
		if s.journal == "" {
			return s, errors.New("--resume=journal needs --journal")
		}
	default:
		return s, fmt.Errorf("--resume=%s: want report, files, journal or none", s.resume)
	}
	switch s.reports {
	case "both", "checkpoint", "progress", "files", "none":
	default:
		return s, fmt.Errorf("--report=%s: want both, checkpoint, progress, files or none", s.reports)
	}
	for _, text := range flags.Args() {
		r, err := parseRule(text)
		if err != nil {
			return s, fmt.Errorf("rule %q: %w", text, err)
		}
		if r.once && s.journal == "" {
			return s, fmt.Errorf("rule %q: once needs --journal, where it is remembered", text)
		}
		s.rules = append(s.rules, r)
	}
	return s, nil
}

// attempt is what the operator says about this attempt.
type attempt struct {
	run, segment, number int
	checkpoint           string            // the JSON text, empty at the first start
	env                  map[string]string // all of LONGTASK_* and TRACEPARENT, as received
}

func attemptFrom(lookup func(string) (string, bool), environ []string) (attempt, error) {
	a := attempt{env: map[string]string{}}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "LONGTASK_") || name == "TRACEPARENT" {
			a.env[name] = value
		}
	}
	for name, field := range map[string]*int{
		"LONGTASK_RUN":     &a.run,
		"LONGTASK_SEGMENT": &a.segment,
		"LONGTASK_ATTEMPT": &a.number,
	} {
		*field = 1
		if value, ok := lookup(name); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				return a, fmt.Errorf("%s=%q is not a number", name, value)
			}
			*field = n
		}
	}
	a.checkpoint, _ = lookup("LONGTASK_CHECKPOINT")
	return a, nil
}
