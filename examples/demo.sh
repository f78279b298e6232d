#!/usr/bin/env bash
# The demo: an import that takes several pods. One is evicted, the operator is restarted under another, and the node of a
# third dies. Then a check that every row arrived exactly once. `make demo` calls it when there is a cluster that has
# the images, with PATH and KUBECONFIG set.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
namespace=longtask-demo
task=import-unicode
volume=longtask-example-import
system=longtask-system
database=/var/tmp/longtask-example-import/characters.sqlite # on the node; see examples/import/longtask.yaml
rows_per_second=500                                          # as that file says, too
limit=400                                                    # seconds for the whole import

scratch=$(mktemp -d)
source=$scratch/UnicodeData.txt

# --- telling -----------------------------------------------------------------

title() { printf '\n%s\n' "$*"; }

fail() {
    printf '\nFAILED: %s\n' "$*" >&2
    exit 1
}

# step TEXT COMMAND...: runs it quietly, shows how long it took, and its last output if it fails.
step() {
    local text=$1 began=$SECONDS
    shift
    printf '  %-52s' "$text"
    "$@" > "$scratch/log" 2>&1 & # in a shell of its own, which a failing command of a function ends
    if wait $!; then
        printf '%4s s\n' $((SECONDS - began))
    else
        printf ' failed\n'
        tail -n 40 "$scratch/log" >&2
        fail "$text"
    fi
}

# say TEXT: a line of the story, with the time since the task was applied.
say() {
    local elapsed=$((SECONDS - applied))
    printf '%3d:%02d  %s\n' $((elapsed / 60)) $((elapsed % 60)) "$*"
}

# At the end, however it comes: on a failure after the operator is there, everything that tells why.
finish() {
    local code=$?
    trap - EXIT
    if [[ -n ${lost-} && -z ${revived-} ]]; then cluster up >&2 || true; fi
    if [[ $code -ne 0 && -n ${installed-} ]]; then
        title 'What the cluster says:' >&2
        {
            kubectl describe longtask "$task" -n "$namespace"
            kubectl get pods,pvc -n "$namespace" -o wide
            kubectl get events -n "$namespace" --sort-by=.metadata.creationTimestamp | tail -n 30
            kubectl logs -n "$namespace" -l "longtask.dev/task=$task" --tail=20 --prefix
            kubectl get pods -n "$system" -o wide
            kubectl logs -n "$system" -l app.kubernetes.io/instance=longtask --tail=60 --prefix
        } >&2 || true
    fi
    rm -rf "$scratch"
    exit "$code"
}
trap finish EXIT

# --- preparing ---------------------------------------------------------------

install_operator() {
    local before
    before=$(kubectl get deployments -n "$system" -l app.kubernetes.io/instance=longtask -o name)
    # --take-ownership: the resource's definition may be there already, put there by kubectl.
    helm upgrade --install longtask "$root/charts/longtask" -n "$system" --create-namespace --take-ownership \
        --set image.repository=localhost/longtask --set image.tag=dev --set image.pullPolicy=IfNotPresent \
        --set replicaCount=1 --wait --timeout 2m
    if [[ -n $before ]]; then # the tag is the same, the image perhaps not
        restart_operator
    fi
}

restart_operator() {
    kubectl rollout restart deployment -n "$system" -l app.kubernetes.io/instance=longtask
    local deployment
    for deployment in $(kubectl get deployments -n "$system" -l app.kubernetes.io/instance=longtask -o name); do
        kubectl rollout status "$deployment" -n "$system" --timeout=90s
    done
}

# An earlier demo leaves nothing behind, and the namespace holds all pods to the strictest Pod Security standard.
prepare_namespace() {
    kubectl delete namespace "$namespace" --ignore-not-found --timeout=120s
    kubectl delete persistentvolume "$volume" --ignore-not-found --timeout=60s
    kubectl create namespace "$namespace"
    kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted
}

# The same file by another way than the image: out of the package, on this machine.
fetch_source() {
    cd "$scratch"
    apt-get download -q -o APT::Sandbox::User=root unicode-data
    dpkg-deb --fsys-tarfile unicode-data_*.deb | tar -xO ./usr/share/unicode/UnicodeData.txt > "$source"
}

# --- following ---------------------------------------------------------------

declare -A attempts=() # number -> segment|outcome|reason|exit code|started|finished|checkpoint
declare -A events=()   # what has been shown
phase='' segment='' attempt='' state='' pod='' progress='' shown='' running_since=0
moves=0 # how often the status has changed its progress while a pod worked
evicted='' restarted='' lost='' lost_at=0 revived='' lost_seconds=''

# look: reads where the task stands, and remembers the attempts that ended (the status keeps the last five).
look() {
    local answer line number rest retries was="$attempt $state" before=$progress
    answer=$(kubectl get longtask "$task" -n "$namespace" -o jsonpath='{.status.phase}|{.status.segment}|{.status.progress.summary}|{.status.retries}|{.status.currentAttempt.number}|{.status.currentAttempt.state}|{.status.currentAttempt.podName}{"\n"}{range .status.recentAttempts[*]}{.number}|{.segment}|{.outcome}|{.reason}|{.exitCode}|{.startedAt}|{.finishedAt}|{.checkpointSequence}{"\n"}{end}') || return 0
    {
        IFS='|' read -r phase segment progress retries attempt state pod
        while IFS='|' read -r number rest; do
            [[ -z $number ]] || attempts[$number]=$rest
        done
    } <<< "$answer"
    if [[ $was != "$attempt $state" ]]; then
        running_since=$SECONDS
    elif [[ $state == Running && $progress != "$before" ]]; then
        moves=$((moves + 1))
    fi
    line=$(printf '%-15s %-10s %7s   %-17s %7s' "$task" "$phase" "$segment" "${progress:--}" "${retries:-0}")
    if [[ -n $phase && $line != "$shown" ]]; then
        shown=$line
        say "$line"
    fi
}

# listen: shows the task's new events.
listen() {
    local key kind reason message
    while IFS='|' read -r key kind reason message; do
        [[ -n $key && -z ${events[$key]-} ]] || continue
        events[$key]=shown
        [[ $kind == Normal ]] || reason="$kind $reason"
        say "    $reason: $message"
    done < <(kubectl get events -n "$namespace" --field-selector "involvedObject.kind=LongTask,involvedObject.name=$task" \
        --sort-by=.metadata.creationTimestamp \
        -o jsonpath='{range .items[*]}{.metadata.uid}/{.count}/{.series.count}|{.type}|{.reason}|{.message}{"\n"}{end}')
}

# disturb: in the second segment the pod is evicted, in the third the operator is restarted, in the fourth the node dies.
disturb() {
    [[ $state == Running ]] && ((SECONDS - running_since >= 5)) || return 0
    if [[ -z $evicted && $segment -ge 2 ]]; then
        evicted=$attempt
        say ">>> evicting the pod $pod, as kubectl drain does"
        kubectl create --raw "/api/v1/namespaces/$namespace/pods/$pod/eviction" -f - > "$scratch/log" <<- END || fail "$pod was not evicted"
			{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "$pod", "namespace": "$namespace"}}
		END
    elif [[ -n $evicted && -z $restarted && $segment -ge 3 ]]; then
        restarted=$attempt
        say ">>> restarting the operator while $pod works (kubectl rollout restart)"
        restart_operator > "$scratch/restart.log" 2>&1 &
        restarting=$!
    elif [[ -n $ours && -n $restarted && -z $lost && $segment -ge 4 ]] && ((SECONDS - running_since >= 9)); then
        lose_node
    fi
}

# lose_node: what the loss of a machine is to a cluster. Its kubelet says no more, the program is dead, and somebody who
# knows that deletes the Node. The operator's pod was there as well.
lose_node() {
    local node uid
    node=$(kubectl get pod "$pod" -n "$namespace" -o jsonpath='{.spec.nodeName}')
    uid=$(kubectl get pod "$pod" -n "$namespace" -o jsonpath='{.metadata.uid}')
    say ">>> the node of $pod dies (kubelet stopped, processes killed, Node $node deleted)"
    lost=$attempt lost_at=$SECONDS
    cluster stop kubelet > "$scratch/log" 2>&1
    kill_pod "$uid"
    kubectl delete node "$node" --wait=false > "$scratch/log"
    say "    the cluster waits for most of a minute before it gives up what was there"
}

# kill_pod UID: kills what runs of a pod, on this machine.
kill_pod() {
    local group root=()
    ((EUID == 0)) || root=(sudo)
    for group in /proc/[0-9]*/cgroup; do
        if grep -qs -e "$1" "$group"; then
            group=${group#/proc/}
            "${root[@]}" kill -KILL "${group%/cgroup}" 2> /dev/null || true
        fi
    done
}

# recover: the node comes back, empty, once its pods are given up; then the next pod says what was lost.
recover() {
    [[ -n $lost ]] || return 0
    if [[ -z $revived && (-n ${attempts[$lost]-} || $((SECONDS - lost_at)) -gt 90) ]]; then
        revived=yes
        say ">>> another node takes its place (here it is the same one, empty)"
        cluster up > "$scratch/revive.log" 2>&1 &
        reviving=$!
    elif [[ -n $revived && -z $lost_seconds && $attempt -gt $lost ]]; then
        tell_loss
    fi
}

# tell_loss: what the operator had heard of, and what the program finds done. The pod tells both, once its program runs; the
# status may not say that it does, since the operator comes back later than the pod.
tell_loss() {
    local told log found
    told=$(kubectl get pod "$pod" -n "$namespace" \
        -o jsonpath='{.spec.containers[0].env[?(@.name=="LONGTASK_CHECKPOINT")].value}' 2> "$scratch/log") || return 0
    log=$(kubectl logs "$pod" -n "$namespace" -c main --request-timeout=5s 2> "$scratch/log") || return 0
    told=${told//[^0-9]/}
    found=$(sed -n 's/^going on behind line \([0-9]*\) .*/\1/p' <<< "$log")
    [[ -n $told && -n $found ]] || return 0
    lost_seconds=$(((found - told + rows_per_second - 1) / rows_per_second))
    say "    $pod is told of row $told, and finds $found in the database: the node took $lost_seconds s of work with it"
}

follow() {
    while ((SECONDS - applied < limit)); do
        look
        listen
        recover
        case $phase in
            Succeeded | Failed | Cancelled)
                sleep 1 # the last events follow the status
                listen
                return
                ;;
        esac
        disturb
        sleep 1
    done
    fail "the import did not end within $limit s"
}

# --- judging -----------------------------------------------------------------

show_attempts() {
    local kept number segment outcome reason code began ended checkpoint ran pod_left
    kept=$(kubectl get pods -n "$namespace" -l "longtask.dev/task=$task" -o name)
    printf '  %-8s %-8s %-24s %5s   %-9s %6s   %-11s %s\n' ATTEMPT SEGMENT OUTCOME EXIT STARTED RAN CHECKPOINT 'POD KEPT'
    for number in $(printf '%s\n' "${!attempts[@]}" | sort -n); do
        IFS='|' read -r segment outcome reason code began ended checkpoint <<< "${attempts[$number]}"
        ran='-'
        if [[ -n $began ]]; then
            ran="$(($(date -d "$ended" +%s) - $(date -d "$began" +%s))) s"
            began=$(date -u -d "$began" +%T)
        fi
        pod_left=no
        [[ $'\n'$kept$'\n' != *$'\n'pod/$task-$number$'\n'* ]] || pod_left=yes
        printf '  %-8s %-8s %-24s %5s   %-9s %6s   %-11s %s\n' \
            "$number" "$segment" "$outcome${reason:+ ($reason)}" "${code:--}" "${began:--}" "$ran" "${checkpoint:--}" "$pod_left"
    done
}

mismatches=0

# expect WHAT HAVE WANT
expect() {
    if [[ $2 == "$3" ]]; then
        printf '  ok   %-44s %s\n' "$1" "$2"
    else
        printf '  NOT  %-44s %s, want %s\n' "$1" "${2:-nothing}" "$3"
        mismatches=$((mismatches + 1))
    fi
}

# expect_within WHAT HAVE LEAST MOST
expect_within() {
    if [[ -n $2 ]] && (($2 >= $3 && $2 <= $4)); then
        printf '  ok   %-44s %s\n' "$1" "$2"
    else
        printf '  NOT  %-44s %s, want %s to %s\n' "$1" "${2:-nothing}" "$3" "$4"
        mismatches=$((mismatches + 1))
    fi
}

status() { kubectl get longtask "$task" -n "$namespace" -o jsonpath="{.status.$1}"; }

outcome_of() {
    local _ outcome reason
    IFS='|' read -r _ outcome reason _ <<< "${attempts[${1:-0}]-}"
    echo "$outcome${reason:+ ($reason)}"
}

judge() {
    local rows
    rows=$(wc -l < "$source")
    expect 'rows in the database, says the task' "$(status result.rows)" "$rows"
    expect 'digest of all rows, says the task' "$(status result.sha256)" "$(sha256sum "$source" | cut -d ' ' -f 1)"
    if [[ $database -nt $scratch/began ]] && command -v python3 > /dev/null; then # the node is this machine
        dump_database > "$scratch/dump"
        expect 'the database itself, dumped and compared' "$(cmp "$scratch/dump" "$source" 2>&1 && echo equal)" equal
    fi
    expect 'how the evicted attempt ended' "$(outcome_of "$evicted")" 'Interrupted (Evicted)'
    expect 'how the one under the operator restart ended' "$(outcome_of "$restarted")" TimeLimit
    if [[ -n $ours ]]; then
        expect 'how the one on the lost node ended' "$(outcome_of "$lost")" 'Interrupted (NodeLost)'
        expect_within 'seconds of work that it took with it' "$lost_seconds" 0 10
    fi
    expect_within 'times that progress moved while a pod worked' "$moves" 6 100
    expect 'attempts, says the task' "$(status totals.attempts)" "${#attempts[@]}"
    expect 'number of the last, so none is missing' "$(status currentAttempt.number)" "${#attempts[@]}"
    expect 'failures' "$(status totals.failures)" 0
}

dump_database() {
    python3 - "$database" <<- 'END'
		import sqlite3, sys
		database = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
		for row in database.execute("SELECT * FROM characters ORDER BY line"):
		    print(*row[1:], sep=";")
	END
}

# --- the story ---------------------------------------------------------------

for tool in kubectl helm apt-get dpkg-deb; do
    command -v "$tool" > /dev/null || fail "$tool is not in PATH: run 'make demo', which installs what is missing"
done

# The node of a cluster of somebody else is not ours to take.
ours=''
if command -v cluster > /dev/null && cluster start kubelet > "$scratch/log" 2>&1; then ours=yes; fi

title 'Preparing'
cd "$root"
step 'the source of the data, for the check' fetch_source
step 'the operator, with Helm' install_operator
installed=yes
step 'an empty namespace' prepare_namespace

title "The import: $(wc -l < "$source") rows, $rows_per_second in a second, heard of every 5 s. No pod lives longer than 15 s"
printf '  in another terminal: kubectl get longtask -n %s --watch\n\n' "$namespace"
touch "$scratch/began"
applied=$SECONDS
kubectl apply -n "$namespace" -f examples/import/longtask.yaml > "$scratch/log"
printf '  time  %-15s %-10s %7s   %-17s %7s\n' NAME PHASE SEGMENT PROGRESS RETRIES
follow
[[ -z ${restarting-} ]] || wait "$restarting" || fail "the operator did not come back: $(cat "$scratch/restart.log")"
[[ -z ${reviving-} ]] || wait "$reviving" || fail "the node did not come back: $(cat "$scratch/revive.log")"
kubectl wait "longtask/$task" -n "$namespace" --for=condition=Complete --timeout=10s > "$scratch/log" 2>&1 \
    || fail "the import ended as $phase: $(status lastFailure.message)"
wall=$((SECONDS - applied))

title 'The chain of attempts'
show_attempts

title "The check: what the task says against this machine's own count of the source"
judge

title 'Look around'
cat << END
  kubectl describe longtask $task -n $namespace
  kubectl get longtask $task -n $namespace -o yaml
  kubectl get pods -n $namespace -L longtask.dev/segment,longtask.dev/attempt
  kubectl logs -n $namespace -l longtask.dev/task=$task --prefix
  kubectl explain longtask.spec.retry

Clean up
  kubectl delete namespace $namespace && kubectl delete persistentvolume $volume
  helm uninstall longtask -n $system
  make cluster-down
END

((mismatches == 0)) || fail "$mismatches of the checks above do not hold"
title "PASSED: $(wc -l < "$source") rows, each exactly once, in ${#attempts[@]} pods: $(status activeSeconds) s of work in $wall s."
