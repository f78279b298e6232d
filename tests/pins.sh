#!/usr/bin/env bash
# Checks that one file says which compiler is used: rust-toolchain.toml. What cannot read it has to agree with it.
# usage: pins.sh, in the root of the repository
set -euo pipefail

misses=0
miss() {
    printf '%s\n' "$*" >&2
    misses=$((misses + 1))
}

pinned=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
[[ $pinned =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] ||
    miss "rust-toolchain.toml: the channel is '$pinned'; name one release, such as 1.95.0"

images=$(sed -n 's/^FROM rust:\([0-9.]*\)-.*/\1/p' Dockerfile)
[[ $images == "$pinned" ]] ||
    miss "Dockerfile: it builds with rust:$images; rust-toolchain.toml says $pinned"

oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
[[ $(printf '%s\n' "$oldest" "$pinned" | sort --version-sort | head -n 1) == "$oldest" ]] ||
    miss "Cargo.toml: rust-version $oldest is newer than the compiler in rust-toolchain.toml, $pinned"

for workflow in .github/workflows/*.yaml; do
    # The variable would win over rust-toolchain.toml.
    ! grep -q 'RUSTUP_TOOLCHAIN' "$workflow" ||
        miss "$workflow: it sets RUSTUP_TOOLCHAIN; leave the choice to rust-toolchain.toml"
    # One or the other would be a second pin.
    ! grep -qE 'rustup (default|toolchain install) +"?[0-9]|cargo +"?\+[0-9]' "$workflow" ||
        miss "$workflow: it names a version of Rust; take it from rust-toolchain.toml or Cargo.toml"
done

exit $((misses > 0))
