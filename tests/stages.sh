#!/usr/bin/env bash
# Runs make targets one after the other, says how long each took, and ends with a clear result.
# usage: stages.sh TARGET...
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

summary=()
began=$SECONDS
for target in "$@"; do
    printf '\n=== %s\n' "$target"
    stage_began=$SECONDS
    if ! "${MAKE:-make}" --no-print-directory "$target"; then
        printf '\n'
        printf '%s\n' "${summary[@]}"
        printf '%-12s FAILED after %d s; run it alone with: make %s\n' "$target" $((SECONDS - stage_began)) "$target"
        exit 1
    fi
    summary+=("$(printf '%-12s ok %5d s' "$target" $((SECONDS - stage_began)))")
done
printf '\n'
printf '%s\n' "${summary[@]}"
printf 'All passed in %d s.\n' $((SECONDS - began))
