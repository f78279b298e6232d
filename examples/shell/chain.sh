#!/bin/sh
# Computes a chain of SHA-256 digests: each link is the digest of the one before. A LongTask program that knows nothing
# of reports: it keeps its place in a file on a volume (checkpoint.source: External), and on SIGTERM it exits 75, "run
# me again".
#
# Environment, beside LONGTASK_*:
#   FOLDER  where the place is kept, one file per run of the task
#   LINKS   how many links to compute
#   SEED    what the chain begins with
#   PAUSE   seconds between links (default 0)
set -eu

file=$FOLDER/${LONGTASK_UID:-by-hand}-${LONGTASK_RUN:-1}
place=0
digest=$SEED
if [ -e "$file" ]; then
    read -r place digest < "$file"
fi
echo "going on behind link $place of $LINKS"

# The new file takes the old one's name in one step: a kill at any moment leaves the old place or the new one.
save() {
    echo "$place $digest" > "$file.new"
    sync "$file.new"
    mv "$file.new" "$file"
}

stop=
trap 'stop=yes' TERM

while [ "$place" -lt "$LINKS" ]; do
    if [ "$stop" ]; then
        echo "asked to stop behind link $place"
        exit 75
    fi
    sum=$(printf %s "$digest" | sha256sum)
    digest=${sum%% *}
    place=$((place + 1))
    save
    sleep "${PAUSE:-0}"
done

echo "link $place is $digest"
