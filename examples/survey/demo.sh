#!/usr/bin/env bash
# The demo of sets: each block of the Unicode standard is a member. The program does not know what two of them have in them.
# The template gets a mended image, and those two go on from their checkpoints. `make demo-set` calls it when there is a
# cluster that has the images, with PATH and KUBECONFIG set.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
namespace=longtask-survey
limit=300    # seconds for each round
parallel=20
. "$root/examples/demo_lib.sh"
data=$scratch/data items=$scratch/items.json set=''

finish() {
    local code=$?
    trap - EXIT
    if [[ $code -ne 0 && -n ${installed-} ]]; then
        {
            title 'What the cluster says:'
            kubectl describe longtaskset "$set" -n "$namespace"
            kubectl get longtasks,pods -n "$namespace" -o wide
            kubectl get events -n "$namespace" --sort-by=.metadata.creationTimestamp | tail -n 30
            kubectl logs -n "$system" -l app.kubernetes.io/instance=longtask --tail=60 --prefix
        } >&2 || true
    fi
    rm -rf "$scratch"
    exit "$code"
}
trap finish EXIT

# --- preparing ---------------------------------------------------------------

# What the operator's image has is the plugin of kubectl as well. `make demo-set` has built it.
provide_plugin() {
    local machine built
    machine=$(rustc -vV | sed -n 's/^host: //p')
    built=${CARGO_TARGET_DIR:-$root/target}/$machine/debug/longtask
    [[ -x $built ]] || { echo "there is no $built: run make programs"; return 1; }
    mkdir -p "$scratch/bin"
    ln -s "$built" "$scratch/bin/kubectl-longtask"
}

# The same files by another way than the image: out of the package, on this machine.
fetch_data() {
    mkdir "$data"
    cd "$data"
    apt-get download -q -o APT::Sandbox::User=root unicode-data
    dpkg-deb --fsys-tarfile unicode-data_*.deb | tar -x --strip-components=4 ./usr/share/unicode/UnicodeData.txt ./usr/share/unicode/Blocks.txt
    # An item for each block: [{"block": "Basic Latin"}, ...]
    sed -n 's/^[0-9A-F]*\.\.[0-9A-F]*; \(.*\)$/{"block": "\1"}/p' Blocks.txt | paste -sd , | sed 's/.*/[&]/' > "$items"
}

# --- following ---------------------------------------------------------------

set_status() { kubectl get longtaskset "$set" -n "$namespace" -o jsonpath="{.status.$1}"; }

phase='' summary='' active='' failed='' shown_at=-10 restarted=''

show_header() { printf '  time  %-10s %9s %7s %7s\n' PHASE PROGRESS ACTIVE FAILED; }

# follow_set ROUND: shows how the set goes on until that round has ended.
follow_set() {
    local began=$SECONDS round number was
    while ((SECONDS - began < limit)); do
        was="$phase $failed"
        IFS='|' read -r number phase summary active failed < <(set_status 'round.number}|{.status.phase}|{.status.progress.summary}|{.status.active}|{.status.failed.count' && echo) || true
        if [[ ${number:-0} == "$1" ]]; then
            if [[ $was != "$phase $failed" ]] || ((SECONDS - shown_at >= 5)); then
                shown_at=$SECONDS
                say "$(printf '%-10s %9s %7s %7s' "$phase" "$summary" "$active" "$failed")"
            fi
            case $phase in Succeeded | Failed | Cancelled) return ;; esac
            if [[ $1 == 1 && -z $restarted ]] && ((${summary%%/*} >= members / 3)); then
                restarted=yes
                say '>>> killing the operator (its pod is deleted, without grace)'
                kubectl delete pods -n "$system" -l app.kubernetes.io/instance=longtask --grace-period=0 --force > "$scratch/log" 2>&1
            fi
        fi
        sleep 0.5
    done
    fail "round $1 of $set did not end within $limit s"
}

# --- judging -----------------------------------------------------------------

results() { kubectl longtask results "$set" -n "$namespace"; }

# total KEY: the sum of what the members counted under that name.
total() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$scratch/results" | awk '{sum += $1} END {print sum}'; }

# counted CONDITION: how many rows of the data meet an awk condition.
counted() { awk -F ';' "$1 {n++} END {print n}" "$data/UnicodeData.txt"; }

pods_of_image() {
    kubectl get pods -n "$namespace" -o jsonpath='{range .items[*]}{.spec.containers[0].image}{"\n"}{end}' | grep -c ":$1\$" || true
}

# --- the story ---------------------------------------------------------------

for tool in kubectl helm apt-get dpkg-deb rustc; do
    command -v "$tool" > /dev/null || fail "$tool is not in PATH: run 'make demo-set', which installs what is missing"
done

title 'Preparing'
cd "$root"
step 'the plugin of kubectl' provide_plugin
export PATH=$scratch/bin:$PATH
step 'the data, and an item for each block of it' fetch_data
step 'the operator, with Helm' install_operator
installed=yes
step 'an empty namespace' renew_namespace
members=$(grep -o '"block"' "$items" | wc -l)

title "The survey: $members blocks of the Unicode standard, a member for each, $parallel at a time"
cat << END
  \$ kubectl apply -f examples/survey/template.yaml
  \$ kubectl longtask start survey --items @items.json --parallel $parallel --key demo
END
applied=$SECONDS
kubectl apply -n "$namespace" -f examples/survey/template.yaml > "$scratch/log"
started=$(kubectl longtask start survey -n "$namespace" --items "@$items" --parallel "$parallel" --key demo)
printf '  %s\n' "$started"
set=${started#*/} set=${set%% *}
again=$(kubectl longtask start survey -n "$namespace" --items "@$items" --parallel "$parallel" --key demo)
printf '  %s\n\n' "$again"
show_header
follow_set 1
first=$((SECONDS - applied))
first_end="$phase $summary, $failed failed"

title 'What failed'
kubectl get longtasks -n "$namespace" --field-selector status.phase=Failed --no-headers \
    -o custom-columns=NAME:.metadata.name,CHECKPOINT:.status.checkpoint.data.row,MESSAGE:.status.lastFailure.message \
    > "$scratch/failed"
awk '{name = $1; row = $2; $1 = $2 = ""; printf "  %s, checkpoint at row %s:\n   %s\n", name, row, $0}' "$scratch/failed"

title 'The template gets a mended image, and those two go on'
cat << END
  \$ sed s/survey:1.0/survey:1.1/ examples/survey/template.yaml | kubectl apply -f -
  \$ kubectl longtask restart lts/$set --renew
END
sed s/survey:1.0/survey:1.1/ examples/survey/template.yaml | kubectl apply -n "$namespace" -f - > "$scratch/log"
kubectl longtask restart "lts/$set" -n "$namespace" --renew | sed 's/^/  /'
printf '\n'
show_header
follow_set 2
wall=$((SECONDS - applied))

title 'Where they went on'
while read -r member row _; do
    said=$(kubectl logs "$member-2" -n "$namespace" -c main)
    printf '  %s-2: %s\n' "$member" "$said"
    [[ $said == *"behind row $row of "* ]] || fail "$member did not go on behind row $row"
done < "$scratch/failed"

title "The check: what the members say against this machine's own count of the data"
results > "$scratch/results"
expect 'how the first round ended' "$first_end" "Failed $((members - 2))/$members, 2 failed"
expect 'starts with the same key that made a set' "$(kubectl get longtasksets -n "$namespace" -o name | wc -l)" 1
expect 'how the second round ended' "$phase $summary" "Succeeded $members/$members"
expect 'pods of the mended image' "$(pods_of_image 1.1)" 2
expect 'results' "$(wc -l < "$scratch/results")" "$members"
expect 'blocks with a result' "$(sed -n 's/.*"block":"\([^"]*\)".*/\1/p' "$scratch/results" | sort -u | wc -l)" "$members"
expect 'characters' "$(total characters)" "$(wc -l < "$data/UnicodeData.txt")"
# shellcheck disable=SC2016 # awk's fields
expect 'letters' "$(total letters)" "$(counted '$3 ~ /^L/')"
# shellcheck disable=SC2016
expect 'pairs of upper and lower case' "$(total pairs)" "$(counted '$13 != "" && $14 == ""')"

title 'Look around'
cat << END
  kubectl get longtasksets -n $namespace -o wide
  kubectl describe longtaskset $set -n $namespace
  kubectl longtask results $set -n $namespace      # it is $root/target/*/debug/longtask, as kubectl-longtask in PATH
  kubectl get longtasks -n $namespace                # the last ten that succeeded are kept

Clean up
  kubectl delete namespace $namespace
  helm uninstall longtask -n $system
  make cluster-down
END

((mismatches == 0)) || fail "$mismatches of the checks above do not hold"
title "PASSED: $members blocks, each counted once: $first s for all, and the two that failed went on from their checkpoints; $wall s in all."
