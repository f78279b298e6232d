package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseRule(t *testing.T) {
	for text, want := range map[string]struct {
		event   string
		guards  int
		actions string
	}{
		"attempt=1 step=3: exit 1":                        {"step", 2, "exit"},
		"before>=4 segment=2: sleep forever":              {"before", 2, "sleep"},
		"term: ignore":                                    {"term", 0, "ignore"},
		"term step>5: checkpoint; exit 75":                {"term", 1, "checkpoint exit"},
		"attempt<3: exit 2":                               {"start", 1, "exit"},
		": child allocate forever":                        {"start", 0, "child"},
		"once step=2: exit 9":                             {"step", 1, "exit"},
		`end: report {"a": "x;y"}; exit 0`:                {"end", 0, "report exit"},
		`end: write {"a; exit 0`:                          {"end", 0, "write exit"},
		`step: report {"progress": {"completed": %step}}`: {"step", 0, "report"},
		`start: write {"checkpoint": {"ste`:               {"start", 0, "write"},
		`start: lines 9 {"a": "x;y"}; drained`:            {"start", 0, "lines drained"},
	} {
		r, err := parseRule(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var names []string
		for _, a := range r.actions {
			names = append(names, a.name)
		}
		if got := strings.Join(names, " "); r.event != want.event || len(r.guards) != want.guards || got != want.actions {
			t.Errorf("%s: got event %s, %d guards, actions %s", text, r.event, len(r.guards), got)
		}
	}
}

func TestParseRuleRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"exit 1":                  "want 'WHEN: ACTION",
		"term:":                   "an action is missing",
		"term end: exit 0":        "two events",
		"term before=3: exit 0":   "compare step",
		"step=1 before=2: exit 0": "both step and before",
		"try=1: exit 0":           "on the left",
		"attempt=one: exit 0":     "number on the right",
		"later: exit 0":           "neither an event",
		"term: explode":           "no such action",
		"term: exit 256":          "from 0 to 255",
		"term: checkpoint [1]":    "wants a JSON object",
		"term: report {":          "wants JSON",
		"term: ignore it":         "takes no argument",
		"start: lines {}":         "wants how many",
		"start: lines 5 five":     "wants JSON behind",
		"start: sleep -1s":        "positive duration",
		"start: allocate 1.5Gi":   "wants a size",
		"start: store forever":    "wants a size",
		"start: child fly":        "no such action",
	} {
		if _, err := parseRule(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", text, err, want)
		}
	}
}

func TestParseAction(t *testing.T) {
	for text, holds := range map[string]func(action) bool{
		`write a\nb "c" \\`: func(a action) bool { return a.argument == "a\nb \"c\" \\" },
		`lines 7 {"n": %n}`: func(a action) bool { return a.number == 7 && a.argument == `{"n": %n}` },
		"fill 5Ki":          func(a action) bool { return a.number == 5120 },
		"allocate forever":  func(a action) bool { return a.number < 0 },
		"sleep 1m30s":       func(a action) bool { return a.duration == 90*time.Second },
		"sleep forever":     func(a action) bool { return a.duration < 0 },
	} {
		if a, err := parseAction(text); err != nil || !holds(a) {
			t.Errorf("%s: got %+v, %v", text, a, err)
		}
	}
}
