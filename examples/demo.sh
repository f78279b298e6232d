#!/usr/bin/env bash
# The demo: an import that takes several pods. One is evicted, the operator is restarted under another, and the node of a
# third dies. Then a check that every row arrived exactly once. `make demo` calls it when there is a cluster that has
# the images, with PATH and KUBECONFIG set.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
namespace=longtask-demo
task=import-unicode
volume=longtask-example-import
database=/var/tmp/longtask-example-import/characters.sqlite # on the node; see examples/import/longtask.yaml
rows_per_second=500                                          # as that file says, too
limit=400                                                    # seconds for the whole import
. "$root/examples/demo_lib.sh"
source=$scratch/UnicodeData.txt

# At the end, however it comes: on a failure after the operator is there, everything that tells why.
finish() {
    local code=$?
    trap - EXIT
    if [[ -n ${lost-} && -z ${revived-} ]]; then cluster up >&2 || true; fi
    if [[ $code -ne 0 && -n ${installed-} ]]; then show_cluster >&2 || true; fi
    rm -rf "$scratch"
    exit "$code"
}
trap finish EXIT

# --- preparing ---------------------------------------------------------------

prepare_namespace() {
    renew_namespace
    kubectl delete persistentvolume "$volume" --ignore-not-found --timeout=60s
}

# The same file by another way than the image: out of the package, on this machine.
fetch_source() {
    cd "$scratch"
    apt-get download -q -o APT::Sandbox::User=root unicode-data
    dpkg-deb --fsys-tarfile unicode-data_*.deb | tar -xO ./usr/share/unicode/UnicodeData.txt > "$source"
}

# --- following ---------------------------------------------------------------

evicted='' restarted='' lost='' lost_at=0 revived='' lost_seconds=''

# disturb: in the second segment the pod is evicted, in the third the operator is restarted, in the fourth the node dies.
disturb() {
    [[ $state == Running ]] && ((SECONDS - running_since >= 5)) || return 0
    if [[ -z $evicted && $segment -ge 2 ]]; then
        evicted=$attempt
        evict_pod
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
    uid=$(pod_uid)
    say ">>> the node of $pod dies (kubelet stopped, processes killed, Node $node deleted)"
    lost=$attempt lost_at=$SECONDS
    cluster stop kubelet > "$scratch/log" 2>&1
    kill_pod "$uid"
    kubectl delete node "$node" --wait=false > "$scratch/log"
    say "    the cluster waits for most of a minute before it gives up what was there"
}

# observe: the node comes back, empty, once its pods are given up; then the next pod says what was lost.
observe() {
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

# --- judging -----------------------------------------------------------------

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

ours=''
if is_our_node; then ours=yes; fi

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
show_header
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
