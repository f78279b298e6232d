#!/usr/bin/env bash
# The demo of stored checkpoints: a training whose program is evicted, killed and deleted, and one that nobody disturbs. Both
# must end with the same weights, to the last bit. `make demo-train` calls it when there is a cluster that has the images,
# with PATH and KUBECONFIG set.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
namespace=longtask-train
task=train
limit=300 # seconds for the whole training
. "$root/examples/demo_lib.sh"

finish() {
    local code=$?
    trap - EXIT
    if [[ $code -ne 0 && -n ${installed-} ]]; then
        {
            show_cluster
            kubectl describe longtask train-undisturbed -n "$namespace"
            kubectl logs -n "$namespace" deployment/store --tail=20
        } >&2 || true
    fi
    rm -rf "$scratch"
    exit "$code"
}
trap finish EXIT

# --- preparing ---------------------------------------------------------------

start_store() {
    kubectl apply -n "$namespace" -f examples/train/store/store.yaml
    kubectl rollout status deployment/store -n "$namespace" --timeout=60s
}

# The local cluster has no DNS: the store is known by the address of its Service.
write_manifests() {
    local address
    address=$(kubectl get service store -n "$namespace" -o jsonpath='{.spec.clusterIP}')
    sed "s|http://store:9000|http://$address:9000|" examples/train/longtask.yaml > "$scratch/train.yaml"
    sed -e 's/^  name: train$/  name: train-undisturbed/' -e 's/^    duration: 20s .*/    duration: 1h/' \
        "$scratch/train.yaml" > "$scratch/undisturbed.yaml"
    grep -q "http://$address:9000" "$scratch/train.yaml"
    grep -q 'name: train-undisturbed' "$scratch/undisturbed.yaml"
    grep -q 'duration: 1h' "$scratch/undisturbed.yaml"
}

# --- following ---------------------------------------------------------------

evicted='' killed='' deleted=''
declare -A resumed=() # attempt -> the step behind which it went on

# observe: tells from which step each attempt goes on. Its log says so, for as long as the pod is there.
observe() {
    local log step
    [[ $state == Running && -z ${resumed[$attempt]-} ]] || return 0
    log=$(kubectl logs "$pod" -n "$namespace" -c main --request-timeout=5s 2> "$scratch/log") || return 0
    step=$(sed -n 's/^going on behind step \([0-9]*\) .*/\1/p' <<< "$log")
    [[ -n $step ]] || return 0
    resumed[$attempt]=$step
    say "    $pod goes on behind step $step"
}

# disturb: no attempt is disturbed twice, and each has work to lose by then.
disturb() {
    local step=${progress%%/*}
    [[ $state == Running && -n $step && -n ${resumed[$attempt]-} ]] && ((SECONDS - running_since >= 4)) || return 0
    if [[ -z $evicted ]] && ((step >= 60)); then
        evicted=$attempt
        evict_pod
    elif [[ -n $evicted && -z $killed && $attempt != "$evicted" ]] && ((step >= 120)); then
        killed=$attempt
        kill_program
    elif [[ -n $killed && -z $deleted && $attempt != "$killed" ]] && ((step >= 200)); then
        deleted=$attempt
        say ">>> deleting the pod $pod, with one second to write a checkpoint of 50 MB"
        kubectl delete pod "$pod" -n "$namespace" --grace-period=1 --wait=false > "$scratch/log"
    fi
}

# kill_program: SIGKILL for the program, which learns nothing of it. On a node that is not this machine, its pod is deleted.
kill_program() {
    if [[ -n $ours ]]; then
        say ">>> kill -9 for the program in $pod"
        kill_pod "$(pod_uid)" train.py
    else
        say ">>> deleting the pod $pod (on a node of yours, nothing is killed)"
        kubectl delete pod "$pod" -n "$namespace" --grace-period=1 --wait=false > "$scratch/log"
    fi
}

# --- judging -----------------------------------------------------------------

undisturbed() { kubectl get longtask train-undisturbed -n "$namespace" -o jsonpath="{.status.$1}"; }

judge() {
    local number anew=0
    for number in "${!resumed[@]}"; do
        if ((number > 1 && resumed[$number] == 0)); then anew=$((anew + 1)); fi
    done
    expect 'digest of the weights' "$(status result.weights)" "$(undisturbed result.weights)"
    expect 'share of the digits that it reads right' "$(status result.accuracy)" "$(undisturbed result.accuracy)"
    expect 'attempts of the undisturbed training' "$(undisturbed totals.attempts)" 1
    expect 'how the evicted attempt ended' "$(outcome_of "$evicted")" 'Interrupted (Evicted)'
    if [[ -n $ours ]]; then
        expect 'how the killed one ended' "$(outcome_of "$killed")" 'Failed (Error)'
    else
        expect 'how the first deleted one ended' "$(outcome_of "$killed")" 'Interrupted (Deleted)'
    fi
    expect 'how the deleted one ended' "$(outcome_of "$deleted")" 'Interrupted (Deleted)'
    expect 'attempts that began at the beginning again' "$anew" 0
    expect_within 'bytes of a checkpoint' "$(status checkpoint.sizeBytes)" 49000000 51000000
    expect_within 'seconds of work lost in all' "$(status totals.workLostSeconds)" 0 30
    expect 'number of the last attempt, so none is missing' "$(status currentAttempt.number)" "${#attempts[@]}"
}

# --- the story ---------------------------------------------------------------

for tool in kubectl helm; do
    command -v "$tool" > /dev/null || fail "$tool is not in PATH: run 'make demo-train', which installs what is missing"
done

ours=''
if is_our_node; then ours=yes; fi

title 'Preparing'
cd "$root"
step 'the operator, with Helm' install_operator
installed=yes
step 'an empty namespace' renew_namespace
step 'a store that speaks S3, with an empty bucket' start_store
write_manifests

title 'The training: 300 steps, a checkpoint of 50 MB every 50. No pod works longer than 20 s, and three are killed'
printf '  in another terminal: kubectl get longtask -n %s --watch\n\n' "$namespace"
applied=$SECONDS
kubectl apply -n "$namespace" -f "$scratch/train.yaml" -f "$scratch/undisturbed.yaml" > "$scratch/log"
show_header
follow
kubectl wait "longtask/$task" -n "$namespace" --for=condition=Complete --timeout=10s > "$scratch/log" 2>&1 \
    || fail "the training ended as $phase: $(status lastFailure.message)"
wall=$((SECONDS - applied))
kubectl wait longtask/train-undisturbed -n "$namespace" --for=condition=Complete --timeout=120s > "$scratch/log" 2>&1 \
    || fail "the undisturbed training did not end: $(cat "$scratch/log")"
[[ -n $deleted ]] || fail 'the training was over before it could be disturbed three times'

title 'The chain of attempts'
show_attempts

title 'The check: the training that was killed against the one that nobody disturbed'
judge

title 'Look around'
cat << END
  kubectl describe longtask $task -n $namespace
  kubectl get longtask $task -n $namespace -o jsonpath='{.status.checkpoint}{"\n"}'
  kubectl get longtasks -n $namespace -o custom-columns=NAME:.metadata.name,RESULT:.status.result
  kubectl logs -n $namespace -l longtask.dev/task=$task -c longtask-agent --prefix

Clean up
  kubectl delete namespace $namespace
  helm uninstall longtask -n $system
  make cluster-down
END

((mismatches == 0)) || fail "$mismatches of the checks above do not hold"
title "PASSED: the same weights, in ${#attempts[@]} pods of which three were killed: $(status activeSeconds) s of work in $wall s."
