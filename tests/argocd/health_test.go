// Package argocd runs the health script of deploy/argocd in the interpreter that Argo CD has, with the libraries that
// it loads.
package argocd

import (
	"os"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/yaml"
)

func TestHealth(t *testing.T) {
	script, err := os.ReadFile("../../deploy/argocd/health.lua")
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct{ name, status, want, message string }{
		{"nobody has looked at it", `{}`, "Progressing", "waiting for the operator"},
		{"an edit that nobody has looked at", `{observedGeneration: 1, phase: Succeeded}`, "Progressing", "waiting for the operator"},
		{"it runs", `{observedGeneration: 2, phase: Running, segment: 3, progress: {summary: 1200/5000 rows},
			conditions: [{type: Reconciling, status: "True"}]}`, "Progressing", "Running, segment 3, 1200/5000 rows"},
		{"it reports no progress", `{observedGeneration: 2, phase: Waiting, segment: 1}`, "Progressing", "Waiting, segment 1"},
		{"it is blocked", `{observedGeneration: 2, phase: Pending,
			conditions: [{type: Blocked, status: "True", reason: QuotaExceeded, message: no room}]}`, "Progressing", "QuotaExceeded: no room"},
		{"it was blocked", `{observedGeneration: 2, phase: Running, segment: 1,
			conditions: [{type: Blocked, status: "False", reason: Started, message: ""}]}`, "Progressing", "Running, segment 1"},
		{"the API server does not let it stop", `{observedGeneration: 2, phase: Stopping,
			conditions: [{type: WriteRefused, status: "True", reason: StopRefused, message: pods are not to change}]}`, "Progressing", "StopRefused: pods are not to change"},
		{"the next pod is blocked, and the last one is not let go", `{observedGeneration: 2, phase: Pending,
			conditions: [{type: WriteRefused, status: "True", reason: ReleaseRefused, message: keep it},
			{type: Blocked, status: "True", reason: QuotaExceeded, message: no room}]}`, "Progressing", "QuotaExceeded: no room"},
		{"it did not stop in time, since nobody lets it", `{observedGeneration: 2, phase: Stopping,
			conditions: [{type: WriteRefused, status: "True", reason: StopRefused, message: pods are not to change},
			{type: AttemptOverdue, status: "True", reason: WriteRefused, message: should have ended}]}`, "Degraded", "should have ended"},
		{"it is done, and its pod is not let go", `{observedGeneration: 2, phase: Succeeded,
			conditions: [{type: WriteRefused, status: "True", reason: ReleaseRefused, message: keep it}]}`, "Healthy", "done"},
		{"the user has paused it", `{observedGeneration: 2, phase: Suspended,
			conditions: [{type: Suspended, status: "True", reason: SuspendedByUser, message: by the user}]}`, "Suspended", "by the user"},
		{"the policy holds it", `{observedGeneration: 2, phase: Suspended,
			conditions: [{type: Suspended, status: "True", reason: Held, message: set a new token}]}`, "Suspended", "set a new token"},
		{"a pod does not end", `{observedGeneration: 2, phase: Running,
			conditions: [{type: AttemptOverdue, status: "True", reason: PodDoesNotEnd, message: "is the node alive?"}]}`, "Degraded", "is the node alive?"},
		{"it has failed", `{observedGeneration: 2, phase: Failed, conditions: [{type: Failed, status: "True", reason: NoProgress, message: 4 segments}]}`,
			"Degraded", "NoProgress: 4 segments"},
		{"it runs again", `{observedGeneration: 2, phase: Running, segment: 1, conditions: [{type: Failed, status: "False", reason: Restarted, message: ""}]}`,
			"Progressing", "Running, segment 1"},
		{"it is done", `{observedGeneration: 2, phase: Succeeded, conditions: [{type: Complete, status: "True"}]}`, "Healthy", "done"},
		{"it was cancelled", `{observedGeneration: 2, phase: Cancelled}`, "Healthy", "cancelled"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var status map[string]any
			if err := yaml.Unmarshal([]byte(c.status), &status); err != nil {
				t.Fatal(err)
			}
			task := map[string]any{"metadata": map[string]any{"generation": 2.0}, "status": status}
			got, message := health(t, string(script), task)
			if got != c.want || !strings.HasPrefix(message, c.message) {
				t.Errorf("got %s, %q", got, message)
			}
		})
	}
}

// health is what the script says of an object.
func health(t *testing.T, script string, object map[string]any) (status, message string) {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []lua.LGFunction{lua.OpenPackage, lua.OpenBase, lua.OpenTable} {
		state.Push(state.NewFunction(library))
		state.Call(0, 0)
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	answer, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script gives a %s, not a table", state.Get(-1).Type())
	}
	return answer.RawGetString("status").String(), answer.RawGetString("message").String()
}

// value is what came out of JSON, as Lua has it.
func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, field := range from {
			table.RawSetString(key, value(state, field))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case string:
		return lua.LString(from)
	case float64:
		return lua.LNumber(from)
	case bool:
		return lua.LBool(from)
	}
	return lua.LNil
}
