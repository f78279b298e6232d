#!/usr/bin/env bash
# Runs make targets, each as soon as those that it needs have passed: what does not need each other runs side by side.
# The output of a target is kept, and printed whole when the target ends. The first failure ends all.
# usage: stages.sh TARGET[:NEED,...]...; a need that is not among the targets is not waited for
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

logs=$PWD/.cache/stages
pulse=120 # seconds after which a quiet run says that it lives

declare -A needs=() started=() ended=() running=() # ended: how many seconds a target took; running: the target of a process
targets=()
for stage in "$@"; do
    target=${stage%%:*}
    targets+=("$target")
    needs[$target]=
    [[ $stage != *:* ]] || needs[$target]=${stage#*:}
done

is_ready() {
    local need
    for need in ${needs[$1]//,/ }; do
        [[ ! -v needs[$need] || -v ended[$need] ]] || return 1
    done
}

start() {
    printf '%5d s  %s started\n' $SECONDS "$1"
    started[$1]=$SECONDS
    "${MAKE:-make}" --no-print-directory "$1" > "$logs/$1.log" 2>&1 &
    running[$!]=$1
}

start_what_is_ready() {
    local target
    for target in "${targets[@]}"; do
        if [[ ! -v started[$target] ]] && is_ready "$target"; then start "$target"; fi
    done
}

# Ends a process and all that it has started: held first, so that it starts no more meanwhile.
end() {
    local child
    kill -STOP "$1" || return
    for child in $(cat /proc/"$1"/task/*/children); do end "$child"; done
    kill -TERM "$1"
    kill -CONT "$1"
}

end_all() {
    local process
    [[ ! -v heart ]] || end "$heart"
    for process in "${!running[@]}"; do end "$process"; done
    wait
} 2> /dev/null # the shell would tell of each that it was terminated

free_space() { df -h --output=avail . | tail -n 1 | tr -d ' '; }

summary() {
    local target
    printf '\n%s of disk are free.\n' "$(free_space)"
    for target in "${targets[@]}"; do
        [[ ! -v ended[$target] ]] || printf '%-12s ok %5d s\n' "$target" "${ended[$target]}"
    done
}

show() { # TARGET RESULT
    printf '\n=== %s: %s\n' "$1" "$2"
    cat "$logs/$1.log"
    printf '\n'
}

beat() {
    while sleep $pulse; do printf '%5d s  at work; the output so far is in %s/\n' $SECONDS "${logs#"$PWD"/}"; done
}

mkdir -p "$logs"
trap end_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
beat &
heart=$!

printf '%s of disk are free; a first run takes about 15G.\n' "$(free_space)"
start_what_is_ready
while ((${#running[@]} > 0)); do
    wait -n -p process "${!running[@]}"
    result=$?
    target=${running[$process]}
    unset "running[$process]"
    seconds=$((SECONDS - started[$target]))
    if ((result != 0)); then
        show "$target" "FAILED after $seconds s"
        summary
        printf '%-12s FAILED after %d s; run it alone with: make %s\n' "$target" $seconds "$target"
        exit 1
    fi
    ended[$target]=$seconds
    show "$target" "ok in $seconds s"
    start_what_is_ready
done
summary
((${#ended[@]} == ${#targets[@]})) || { echo "Nothing more is ready: do some of these need each other? $*"; exit 1; }
printf 'All passed in %d s.\n' $SECONDS
