# What the demos share: telling the story, the operator, following a task, judging it. A demo that reads this file has set
# `root`, `namespace`, `task` and `limit`, and has the functions `observe` and `disturb`, which `follow` calls every second.

system=longtask-system
scratch=$(mktemp -d)

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

# What tells why a demo failed.
show_cluster() {
    title 'What the cluster says:'
    kubectl describe longtask "$task" -n "$namespace"
    kubectl get pods,pvc -n "$namespace" -o wide
    kubectl get events -n "$namespace" --sort-by=.metadata.creationTimestamp | tail -n 30
    kubectl logs -n "$namespace" -l "longtask.dev/task=$task" --all-containers --tail=20 --prefix
    kubectl get pods -n "$system" -o wide
    kubectl logs -n "$system" -l app.kubernetes.io/instance=longtask --tail=60 --prefix
}

# --- the operator and the namespace ------------------------------------------

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
renew_namespace() {
    kubectl delete namespace "$namespace" --ignore-not-found --timeout=120s
    kubectl create namespace "$namespace"
    kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted
}

# --- following ---------------------------------------------------------------

declare -A attempts=() # number -> segment|outcome|reason|exit code|started|finished|checkpoint
declare -A events=()   # what has been shown
phase='' segment='' attempt='' state='' pod='' progress='' shown='' running_since=0
moves=0 # how often the status has changed its progress while a pod worked

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

evict_pod() {
    say ">>> evicting the pod $pod, as kubectl drain does"
    kubectl create --raw "/api/v1/namespaces/$namespace/pods/$pod/eviction" -f - > "$scratch/log" <<- END || fail "$pod was not evicted"
		{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "$pod", "namespace": "$namespace"}}
	END
}

# kill_pod UID [WORD]: kills what runs of a pod on this machine, or what of it has that word in its command line.
kill_pod() {
    local group process root=()
    ((EUID == 0)) || root=(sudo)
    for group in /proc/[0-9]*/cgroup; do
        process=${group%/cgroup}
        if grep -qs -e "$1" "$group" && { [[ -z ${2-} ]] || grep -aqs -e "$2" "$process/cmdline"; }; then
            "${root[@]}" kill -KILL "${process#/proc/}" 2> /dev/null || true
        fi
    done
}

pod_uid() { kubectl get pod "$pod" -n "$namespace" -o jsonpath='{.metadata.uid}'; }

# The node of a cluster of somebody else is not ours to take, and its processes are not ours to kill.
is_our_node() { command -v cluster > /dev/null && cluster start kubelet > "$scratch/log" 2>&1; }

show_header() { printf '  time  %-15s %-10s %7s   %-17s %7s\n' NAME PHASE SEGMENT PROGRESS RETRIES; }

follow() {
    while ((SECONDS - applied < limit)); do
        look
        listen
        observe
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
    fail "$task did not end within $limit s"
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
