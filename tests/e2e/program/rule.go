package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A rule says what to do at a moment: 'WHEN: ACTION; ACTION ...'.
type rule struct {
	text    string
	event   string // start, before, step, term or end
	guards  []guard
	once    bool
	actions []action
}

// A guard compares a number of the attempt with a constant.
type guard struct {
	subject  string // run, segment, attempt or step
	operator string
	value    int
}

type action struct {
	name     string
	argument string
	duration time.Duration // of sleep; negative: forever
	number   int           // of exit, allocate, fill, lines and store; negative: without end
	child    *action       // of child
}

var (
	events    = []string{"start", "before", "step", "term", "end"}
	subjects  = []string{"run", "segment", "attempt", "step", "before"}
	operators = []string{"!=", "<=", ">=", "=", "<", ">"}
)

func parseRule(text string) (rule, error) {
	r := rule{text: text}
	when, actions, found := strings.Cut(text, ":")
	if !found {
		return r, errors.New("want 'WHEN: ACTION; ACTION ...'")
	}
	if err := r.parseWhen(strings.Fields(when)); err != nil {
		return r, err
	}
	for part := range strings.SplitSeq(actions, "; ") {
		a, err := parseAction(strings.TrimSpace(part))
		if err != nil {
			return r, err
		}
		r.actions = append(r.actions, a)
	}
	return r, nil
}

// parseWhen reads words such as 'term', 'attempt=1' and 'step>=3'. A comparison of step or before is the event,
// unless another event is named; with no event the rule is for the start.
func (r *rule) parseWhen(words []string) error {
	var compared string
	for _, word := range words {
		switch {
		case word == "once":
			r.once = true
		case slices.Contains(events, word):
			if r.event != "" {
				return fmt.Errorf("names two events, %s and %s", r.event, word)
			}
			r.event = word
		default:
			g, err := parseGuard(word)
			if err != nil {
				return err
			}
			if g.subject == "step" || g.subject == "before" {
				if compared != "" && compared != g.subject {
					return errors.New("compares both step and before")
				}
				compared = g.subject
				g.subject = "step"
			}
			r.guards = append(r.guards, g)
		}
	}
	switch {
	case compared == "before" && r.event != "" && r.event != "before":
		return fmt.Errorf("before is an event of its own, not a condition of %s: compare step", r.event)
	case r.event == "" && compared != "":
		r.event = compared
	case r.event == "":
		r.event = "start"
	}
	return nil
}

func parseGuard(word string) (guard, error) {
	for _, operator := range operators {
		subject, value, found := strings.Cut(word, operator)
		if !found {
			continue
		}
		if !slices.Contains(subjects, subject) {
			return guard{}, fmt.Errorf("%q: want one of %s on the left", word, strings.Join(subjects, ", "))
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return guard{}, fmt.Errorf("%q: want a number on the right", word)
		}
		return guard{subject: subject, operator: operator, value: n}, nil
	}
	return guard{}, fmt.Errorf("%q is neither an event (%s), nor a condition such as attempt=1, nor once",
		word, strings.Join(events, ", "))
}

func (g guard) holds(have int) bool {
	switch g.operator {
	case "=":
		return have == g.value
	case "!=":
		return have != g.value
	case "<":
		return have < g.value
	case "<=":
		return have <= g.value
	case ">":
		return have > g.value
	default: // ">="
		return have >= g.value
	}
}

func parseAction(text string) (action, error) {
	if text == "" {
		return action{}, errors.New("an action is missing")
	}
	name, argument, _ := strings.Cut(text, " ")
	a := action{name: name, argument: strings.TrimSpace(argument)}
	var err error
	switch name {
	case "ignore", "empty", "drained", "save":
		if a.argument != "" {
			err = errors.New("takes no argument")
		}
	case "checkpoint":
		if a.argument == "" {
			a.argument = "{}"
		}
		var object map[string]json.RawMessage
		if json.Unmarshal([]byte(fillIn(a.argument, 0, 0, 0, 0)), &object) != nil || object == nil {
			err = errors.New("wants a JSON object, or nothing")
		}
	case "report":
		if !json.Valid([]byte(fillIn(a.argument, 0, 0, 0, 0))) {
			err = errors.New("wants JSON (write takes any text)")
		}
	case "lines":
		count, line, _ := strings.Cut(a.argument, " ")
		a.argument = line
		if a.number, err = strconv.Atoi(count); err != nil || a.number < 1 {
			err = errors.New("wants how many, and JSON")
		} else if !json.Valid([]byte(strings.ReplaceAll(fillIn(line, 0, 0, 0, 0), "%n", "1"))) {
			err = errors.New("wants JSON behind the number")
		}
	case "write":
		a.argument, err = strconv.Unquote(`"` + strings.ReplaceAll(a.argument, `"`, `\"`) + `"`)
		if err != nil {
			err = errors.New(`wants text, in which \n is a new line and \\ a backslash`)
		}
	case "fill", "store":
		a.number, err = parseSize(a.argument)
	case "log", "wait", "escape":
		if a.argument == "" {
			err = errors.New("wants an argument")
		}
	case "sleep":
		if a.argument == "forever" {
			a.duration = -1
		} else if a.duration, err = time.ParseDuration(a.argument); err == nil && a.duration < 0 {
			err = errors.New("wants a positive duration or forever")
		}
	case "allocate":
		if a.argument == "forever" {
			a.number = -1
		} else {
			a.number, err = parseSize(a.argument)
		}
	case "exit":
		a.number, err = strconv.Atoi(a.argument)
		if err != nil || a.number < 0 || a.number > 255 {
			err = errors.New("wants a number from 0 to 255")
		}
	case "child":
		var child action
		if child, err = parseAction(a.argument); err == nil {
			a.child = &child
		}
	default:
		err = errors.New("there is no such action")
	}
	if err != nil {
		return a, fmt.Errorf("action %q: %w", text, err)
	}
	return a, nil
}

// fillIn replaces %step, %attempt, %segment and %run.
func fillIn(text string, step, attempt, segment, run int) string {
	return strings.NewReplacer(
		"%step", strconv.Itoa(step),
		"%attempt", strconv.Itoa(attempt),
		"%segment", strconv.Itoa(segment),
		"%run", strconv.Itoa(run),
	).Replace(text)
}

// parseSize reads a number of bytes with an optional suffix Ki, Mi or Gi.
func parseSize(text string) (int, error) {
	shift := 0
	digits := text
	for suffix, bits := range map[string]int{"Ki": 10, "Mi": 20, "Gi": 30} {
		if rest, found := strings.CutSuffix(text, suffix); found {
			digits, shift = rest, bits
		}
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 {
		return 0, errors.New("wants a size such as 100, 64Ki or 512Mi")
	}
	return n << shift, nil
}
