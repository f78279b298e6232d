#!/usr/bin/env bash
# The demo of queues: sixty orders for a partner who takes so many calls in ten seconds, and goes down in the middle. The breaker
# of the queue opens, tries, and closes; no order is lost, none is sent twice, and no budget is touched. `make demo-queue` calls it
# when there is a cluster that has the images, with PATH and KUBECONFIG set.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
namespace=longtask-partner
limit=240      # seconds
orders=60
down_after=15  # orders, after which the partner goes down
down_for=22    # seconds
. "$root/examples/demo_lib.sh"

finish() {
    local code=$?
    trap - EXIT
    if [[ $code -ne 0 && -n ${installed-} ]]; then
        {
            title 'What the cluster says:'
            kubectl describe taskqueue,longtaskset -n "$namespace"
            kubectl get longtasks,pods -n "$namespace" -o wide
            kubectl get events -n "$namespace" --sort-by=.metadata.creationTimestamp | tail -n 30
            kubectl logs -n "$system" -l app.kubernetes.io/instance=longtask --tail=60 --prefix
        } >&2 || true
    fi
    rm -rf "$scratch"
    exit "$code"
}
trap finish EXIT

# --- the partner -------------------------------------------------------------

# partner PATH: what a GET answers, by way of the API server.
partner() { kubectl get --raw "/api/v1/namespaces/$namespace/services/partner:http/proxy$1"; }

# switch down|up
switch() { kubectl create --raw "/api/v1/namespaces/$namespace/services/partner:http/proxy/$1" -f /dev/null > "$scratch/log"; }

figure() { partner /figures | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p"; }

start_partner() {
    kubectl apply -n "$namespace" -f "$root/examples/partner/partner.yaml"
    kubectl rollout status deployment/partner -n "$namespace" --timeout=90s
}

# A cluster without DNS knows the partner by its address.
address() { kubectl get service partner -n "$namespace" -o jsonpath='http://{.spec.clusterIP}:8080'; }

# --- following ---------------------------------------------------------------

phase='' summary='0/0' places='' waiting='' breaker='' openings=0 pods=0
shown='' shown_at=-10 went_down='' came_up='' killed='' open_since='' pods_while_open=0

show_header() { printf '  time  %-10s %7s %8s %8s %6s   %s\n' PHASE DONE PLACES WAITING PODS BREAKER; }

look() {
    IFS='|' read -r phase summary < <(kubectl get longtaskset orders -n "$namespace" -o jsonpath='{.status.phase}|{.status.progress.summary}' && echo) || true
    IFS='|' read -r places waiting breaker openings < <(kubectl get taskqueue partner -n "$namespace" \
        -o jsonpath='{.status.summary}|{.status.waiting}|{.status.breaker.state}|{.status.breaker.openings}' && echo) || true
    pods=$(kubectl get pods -n "$namespace" -l longtask.dev/task --no-headers --field-selector 'status.phase!=Succeeded,status.phase!=Failed' 2> /dev/null | wc -l)
    summary=${summary:-0/0}
    [[ -n $phase ]] || return 0
    local line
    line=$(printf '%-10s %7s %8s %8s %6s   %s' "$phase" "$summary" "$places" "$waiting" "$pods" "$breaker${breaker:+$( ((${openings:-0} > 0)) && echo ", opened $openings x" || true)}")
    if [[ $line != "$shown" ]] && { [[ ${line##*   } != "${shown##*   }" ]] || ((SECONDS - shown_at >= 3)); }; then
        shown=$line shown_at=$SECONDS
        say "$line"
    fi
}

# What the story does to the partner and to the operator, and when.
disturb() {
    if [[ -z $went_down ]] && ((${summary%%/*} >= down_after)); then
        went_down=$SECONDS
        say '>>> the partner goes down'
        switch down
    fi
    if [[ -n $went_down && -z $killed && $breaker == Open ]]; then
        killed=yes
        say '>>> killing the operator (its pod is deleted, without grace)'
        kubectl delete pods -n "$system" -l app.kubernetes.io/instance=longtask --grace-period=0 --force > "$scratch/log" 2>&1
    fi
    if [[ -n $went_down && -z $came_up ]] && ((SECONDS - went_down >= down_for)); then
        came_up=$SECONDS
        say '>>> the partner works again'
        switch up
    fi
    # Those who ran when it opened have ended after a few seconds.
    if [[ $breaker != Open ]]; then open_since=''; elif [[ -z $open_since ]]; then open_since=$SECONDS; fi
    if [[ -n $open_since ]] && ((SECONDS - open_since >= 4 && pods > pods_while_open)); then pods_while_open=$pods; fi
}

follow_orders() {
    while ((SECONDS - applied < limit)); do
        look
        case $phase in Succeeded | Failed | Cancelled) return ;; esac
        disturb
        sleep 0.5
    done
    fail "the orders were not done within $limit s"
}

# sum FIELD: of the status of all orders.
sum() { kubectl get longtasks -n "$namespace" -o jsonpath="{range .items[*]}{.status.$1}{\"\n\"}{end}" | awk '{sum += $1} END {print sum + 0}'; }

# --- the story ---------------------------------------------------------------

for tool in kubectl helm; do
    command -v "$tool" > /dev/null || fail "$tool is not in PATH: run 'make demo-queue', which installs what is missing"
done

title 'Preparing'
cd "$root"
step 'the operator, with Helm' install_operator
installed=yes
step 'an empty namespace' renew_namespace
step 'the partner, who takes 20 calls in ten seconds' start_partner

title "$orders orders, 6 at a time and 15 starts in ten seconds"
cat << END
  \$ kubectl apply -f examples/partner/orders.yaml

END
applied=$SECONDS
sed "s#http://partner:8080#$(address)#" examples/partner/orders.yaml | kubectl apply -n "$namespace" -f - > "$scratch/log"
show_header
follow_orders
wall=$((SECONDS - applied))

title 'What the queue told'
kubectl get events -n "$namespace" --field-selector involvedObject.kind=TaskQueue --sort-by=.metadata.creationTimestamp \
    -o jsonpath='{range .items[*]}  {.reason}: {.message}{"\n"}{end}'

title 'The check: what the partner and the tasks say'
expect 'how the set ended' "$phase $summary" "Succeeded $orders/$orders"
expect 'orders that the partner has' "$(figure orders)" "$orders"
expect 'calls that he accepted' "$(figure accepted)" "$orders"
expect 'calls that were too many for him' "$(figure tooMany)" 0
expect_within 'most calls in ten seconds' "$(figure mostInTenSeconds)" 1 20
# A fifth of what ended in fifteen seconds opens it, and up to six ran then; after that there are only probes.
expect_within 'calls while he was down' "$(figure down)" 4 14
expect 'pods while the breaker was open' "$pods_while_open" 0
expect 'breaker in the end' "$breaker" Closed
# None of them has a budget for failures.
expect 'attempts of all orders' "$(sum totals.attempts)" $((orders + $(figure down)))

title 'Look around'
cat << END
  kubectl get taskqueues,longtasksets -n $namespace
  kubectl describe taskqueue partner -n $namespace
  kubectl get longtasks -n $namespace -o wide

Clean up
  kubectl delete namespace $namespace
  helm uninstall longtask -n $system
  make cluster-down
END

((mismatches == 0)) || fail "$mismatches of the checks above do not hold"
title "PASSED: $orders orders in $wall s, each once, with a partner who was down for $((came_up - went_down)) s of that."
