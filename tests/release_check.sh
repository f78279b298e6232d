#!/usr/bin/env bash
# Checks that the commit at hand can be released: all that the workflow `release` takes for granted, before there is a tag.
# usage: release_check.sh VERSION, in the root of the repository. GENERATE writes the generated files; default: make generate
set -uo pipefail

version=${1-}
if [[ ! $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]]; then
    echo "'$version' is no version. Say for example: make release-check VERSION=0.2.0" >&2
    exit 2
fi

misses=0
ok() { printf 'ok    %s\n' "$1"; }
# miss WHAT REMEDY
miss() {
    printf 'MISS  %s\n      %s\n' "$1" "$2"
    misses=$((misses + 1))
}
# equal WHAT FOUND WANTED REMEDY
equal() { if [[ $2 == "$3" ]]; then ok "$1: $2"; else miss "$1: ${2:-none}, not $3" "$4"; fi; }
# none WHAT FOUND REMEDY
none() { if [[ -z $2 ]]; then ok "$1: none"; else miss "$1: $(sort -u <<< "$2" | paste -sd , | sed 's/,/, /g')" "$3"; fi; }

equal "version of the crate" "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" "$version" \
    "Set version in Cargo.toml."
equal "version in Cargo.lock" "$(grep -A 1 -x 'name = "longtask"' Cargo.lock | sed -n 's/^version = "\(.*\)"/\1/p')" "$version" \
    "Run: cargo update --workspace --offline"
for field in version appVersion; do
    equal "$field of the chart" "$(sed -n "s/^$field: //p" charts/longtask/Chart.yaml | tr -d '"')" "$version" \
        "Set $field in charts/longtask/Chart.yaml."
done

# section NAME: the body of a section of the changelog
section() { awk -v head="## [$1]" '/^## / {inside = index($0, head) == 1; next} inside' CHANGELOG.md; }
entries() { section "$1" | grep -c '^- '; }
if grep -qE "^## \[${version//./\\.}\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md; then
    ok "changelog: a section with a date"
else
    miss "changelog: no section $version with a date" "Write below '## [Unreleased]': ## [$version] - $(date -u +%F)"
fi
if (($(entries "$version") > 0)); then
    ok "changelog: the section says what changed"
else
    miss "changelog: the section of $version is empty" "Move the entries of Unreleased there."
fi
if ! grep -q '^## \[Unreleased\]$' CHANGELOG.md; then
    miss "changelog: no section Unreleased" "Leave an empty '## [Unreleased]' at the top, for what comes next."
elif (($(entries Unreleased) > 0)); then
    miss "changelog: Unreleased still has entries" "Move them to the section of $version."
else
    ok "changelog: Unreleased is empty"
fi

others=$(grep -EnoH '(longtask:|refs/tags/v|image\.tag=)[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?' README.md docs/*.md |
    grep -vE "[:v=]${version//./\\.}$")
none "other versions in the commands of README.md and docs" "$others" "Set them to $version."

for line in '  repository: longtask/longtask' '  digest: ""'; do
    if grep -qx "$line" charts/longtask/values.yaml; then
        ok "values.yaml: the line '$line', which the workflow replaces"
    else
        miss "values.yaml: no line '$line'" "Restore it, or change the workflow's step 'The chart, which pins that image'."
    fi
done

if pins=$(tests/pins.sh 2>&1); then
    ok "compiler: one version everywhere"
else
    miss "compiler: $pins" "Mend it, until make lint passes."
fi
if git rev-parse --quiet --verify "refs/tags/v$version" > /dev/null; then
    miss "tag: v$version is there already" "A tag that was pushed is never moved: release the next version."
else
    ok "tag: v$version is free"
fi
none "uncommitted files" "$(git status --porcelain)" "Commit or remove them."

if ((misses > 0)); then
    echo "--    generated files: not looked at before the rest is mended"
elif ! ${GENERATE:-make --no-print-directory generate} > /dev/null; then
    miss "generated files: they could not be written" "Run: make generate"
else
    none "generated files that are out of date" "$(git status --porcelain)" \
        "They have been written; look at the difference and commit it."
fi

if ((misses > 0)); then
    printf '\nNot ready: %d to mend.\n' "$misses"
    exit 1
fi
printf '\nReady. On main: git tag --sign --message v%s v%s && git push origin v%s\n' "$version" "$version" "$version"
