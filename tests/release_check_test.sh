#!/usr/bin/env bash
# Holds release_check.sh: a repository that is ready passes, and each thing that is missing is named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export GIT_AUTHOR_NAME=test GIT_AUTHOR_EMAIL=test@localhost GIT_COMMITTER_NAME=test GIT_COMMITTER_EMAIL=test@localhost
now=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# What release_check.sh reads, made ready for version 9.8.7.
ready=$scratch/ready
mkdir "$ready"
cp --parents -r .github/workflows Cargo.toml Cargo.lock CHANGELOG.md Dockerfile README.md charts/longtask docs \
    rust-toolchain.toml tests/pins.sh tests/release_check.sh "$ready"
cd "$ready"
sed -i "0,/^version = /s/^version = .*/version = \"9.8.7\"/" Cargo.toml
sed -i "/^name = \"longtask\"$/,+1 s/^version = .*/version = \"9.8.7\"/" Cargo.lock
sed -i -E "s/^(version|appVersion): .*/\1: 9.8.7/" charts/longtask/Chart.yaml
sed -i -E "s/((longtask:|tags\/v|image\.tag=))${now//./\\.}/\19.8.7/g" README.md docs/*.md
printf '# Changelog\n\n## [Unreleased]\n\n## [9.8.7] - 2030-01-31\n\n### Added\n\n' > CHANGELOG.md
# More than a pipe holds.
seq -f '- Thing number %g of a long section.' 5000 >> CHANGELOG.md
git init --quiet && git add --all && git commit --quiet --message ready

fail() {
    printf 'release_check_test.sh: %s\n%s\n' "$1" "$2" >&2
    exit 1
}

said=$(GENERATE=true tests/release_check.sh 9.8.7) || fail "a repository that is ready is refused" "$said"

# names TEXT COMMAND: after the command is committed, the check fails and says the text.
names() {
    rm -rf "$scratch/bad"
    cp -r "$ready" "$scratch/bad"
    cd "$scratch/bad"
    bash -c "$2"
    git add --all && git commit --quiet --allow-empty --message bad
    if said=$(GENERATE=${3:-true} tests/release_check.sh 9.8.7); then fail "passes after: $2" "$said"; fi
    [[ $said == *"MISS  $1"* ]] || fail "does not say '$1' after: $2" "$said"
    [[ $said == *"Not ready: ${4:-1} to mend."* ]] || fail "does not count ${4:-1} after: $2" "$said"
}
names 'version of the crate: 9.8.6, not 9.8.7' "sed -i 's/9.8.7/9.8.6/' Cargo.toml"
names 'version in Cargo.lock: 9.8.6, not 9.8.7' "sed -i '/\"longtask\"/,+1 s/9.8.7/9.8.6/' Cargo.lock"
names 'version of the chart: 9.8.6, not 9.8.7' "sed -i 's/^version: 9.8.7/version: 9.8.6/' charts/longtask/Chart.yaml"
names 'appVersion of the chart: none, not 9.8.7' "sed -i '/^appVersion/d' charts/longtask/Chart.yaml"
names 'changelog: no section 9.8.7 with a date' "sed -i 's/ - 2030-01-31//' CHANGELOG.md"
names 'changelog: the section of 9.8.7 is empty' "sed -i '/^- /d' CHANGELOG.md"
names 'changelog: Unreleased still has entries' "sed -i '/^## .9.8.7/d; s/^## .Unreleased.$/&\n\n- Another thing./' CHANGELOG.md" true 3
names 'changelog: no section Unreleased' "sed -i '/Unreleased/d' CHANGELOG.md"
names 'other versions in the commands of README.md and docs: docs/install.md:1:longtask:9.8.6' \
    "sed -i '1 s/^/longtask:9.8.6 /' docs/install.md"
names "values.yaml: no line '  digest: \"\"'" "sed -i 's/  digest: \"\"/  digest: sha256:0/' charts/longtask/values.yaml"
names 'compiler: Dockerfile: it builds with rust:1.0.0' "sed -i 's/rust:[0-9.]*/rust:1.0.0/' Dockerfile"
names 'tag: v9.8.7 is there already' 'git tag v9.8.7'
names 'generated files: they could not be written' true false
names 'generated files that are out of date:  M README.md' true 'sed -i $d README.md'
names 'changelog: no section 9.8.7 with a date' 'echo > CHANGELOG.md' true 3

cd "$ready"
touch left-behind
if said=$(GENERATE=true tests/release_check.sh 9.8.7); then fail "passes with an uncommitted file" "$said"; fi
[[ $said == *'MISS  uncommitted files: ?? left-behind'* ]] || fail "does not name the uncommitted file" "$said"
if said=$(tests/release_check.sh v9.8.7 2>&1); then fail "takes v9.8.7 as a version" "$said"; fi
echo "release_check.sh: passes when all is ready, and names each thing that is missing"
