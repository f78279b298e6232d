#!/bin/sh
# Runs chain.sh in attempts that are stopped and killed, under busybox where there is one.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
shell='sh'
if command -v busybox > /dev/null; then
    shell='busybox sh'
fi
FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
export FOLDER SEED=longtask LONGTASK_UID=uid
expected=7580618339e5a5badb6933d91e395d805996726606262c5553037d2633ea9e50 # link 20, computed with Python's hashlib

failed() {
    echo "FAIL: $*" >&2
    exit 1
}

place() {
    if [ -e "$FOLDER/uid-1" ]; then cut -d ' ' -f 1 "$FOLDER/uid-1"; else echo 0; fi
}

wait_for_place() {
    tries=0
    while [ "$(place)" -lt "$1" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 500 ] || failed "the chain did not come to link $1"
        sleep 0.02
    done
}

# attempt WANTED SIGNAL CODE: starts one, signals it behind a link, expects an exit code.
attempt() {
    LINKS=20 PAUSE=0.05 $shell "$here/chain.sh" > "$FOLDER/log" &
    pid=$!
    wait_for_place "$1"
    kill -"$2" "$pid"
    code=0
    { wait "$pid"; } 2> /dev/null || code=$?
    [ "$code" -eq "$3" ] || failed "exit $code after SIG$2, want $3"
}

attempt 3 TERM 75
grep -q "asked to stop behind link" "$FOLDER/log" || failed "no word about the stop"
attempt 6 KILL 137
attempt 9 KILL 137
stopped_at=$(place)
attempt 12 TERM 75
grep -q "going on behind link $stopped_at of 20" "$FOLDER/log" || failed "did not go on from link $stopped_at"
end=$(LINKS=20 $shell "$here/chain.sh" | tail -n 1)
[ "$end" = "link 20 is $expected" ] || failed "$end"
end=$(LINKS=20 $shell "$here/chain.sh" | tail -n 1)
[ "$end" = "link 20 is $expected" ] || failed "after the end: $end"
start=$(LINKS=1 LONGTASK_RUN=2 $shell "$here/chain.sh" | head -n 1)
[ "$start" = "going on behind link 0 of 1" ] || failed "a new run: $start"
echo "ok: chain.sh ($shell)"
