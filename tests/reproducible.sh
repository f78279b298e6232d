#!/usr/bin/env bash
# Builds the operator's image twice, in two folders with nothing in common but the commit, and compares the two.
# usage: reproducible.sh TOOL, the cluster tool
set -euo pipefail
tool=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
commit=$(git -C "$root" rev-parse HEAD)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# build FOLDER: prints the archive of the image that a clone in that folder makes.
build() {
    git clone --quiet --no-checkout "$root" "$scratch/$1"
    git -C "$scratch/$1" checkout --quiet --detach "$commit"
    # A cache of its own: the image that others load is not touched. CARGO_TARGET_DIR would share what was compiled.
    env -u CARGO_TARGET_DIR -u RUSTFLAGS XDG_CACHE_HOME="$scratch/cache-of-$1" \
        "$tool" image build "$scratch/$1/deploy/image.yaml" >&2
    echo "$scratch/cache-of-$1/longtask/images/localhost_longtask_dev.tar"
}

first=$(build here)
rm -rf "$scratch/here" # what was compiled is large
second=$(build another-folder-with-a-longer-name)
if ! cmp "$first" "$second"; then
    echo "The image is not reproducible: the two builds of ${commit:0:7} differ." >&2
    exit 1
fi
echo "Two builds of ${commit:0:7} give the same image: $(tar -xOf "$first" manifest.json | grep -o 'sha256:[0-9a-f]*' | head -n 1)"
