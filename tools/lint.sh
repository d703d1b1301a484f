#!/usr/bin/env bash
# clang-format, clang-tidy, cppcheck, shellcheck and the layer check. One line for each that is clean;
# what is wrong goes to stderr. clang-tidy remembers, in build/lint, the content of a file and of all
# that it includes, and looks only at what changed.
# shellcheck disable=SC2317 # the stages are called by name
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
stamps=build/lint/tidy
tidy_flags=(-std=c11 -D_GNU_SOURCE -I.)

if [ "${1-}" = tidy-one ]; then # called by xargs below
    sources=$(cc "${tidy_flags[@]}" -MM -MT '' "$2" | tr -d ':\\\n') || exit 1
    # shellcheck disable=SC2086 # a list of paths without spaces
    key=$(cat .clang-tidy "$0" $sources | sha256sum | cut -c1-40)
    [ -e "$stamps/$key" ] && exit 0
    if ! out=$(clang-tidy --quiet "$2" -- "${tidy_flags[@]}" 2>&1); then
        grep -vE '^[0-9]+ warnings? (treated|generated)' <<<"$out" >&2
        exit 1
    fi
    : >"$stamps/$key"
    exit 0
fi

failed=0
stage() { # NAME COMMAND...
    local name=$1 start=$SECONDS
    shift
    if "$@" >&2; then
        echo "lint: $name ok ($((SECONDS - start)) s)"
    else
        echo "lint: $name found errors" >&2
        failed=1
    fi
}
files() { # PATTERN...: known to git or about to be; the demo's recipe is kept as it was run
    if git rev-parse --git-dir >/dev/null 2>&1; then
        git ls-files --cached --others --exclude-standard -- "$@" ':!demo' | while read -r file; do
            [ -e "$file" ] && echo "$file"
        done
    else
        local names=()
        for pattern; do names+=(-o -path "./${pattern}"); done
        find . \( -path ./build -o -path ./demo -o -name node_modules \) -prune -o -type f \
            \( "${names[@]:1}" \) -printf '%P\n'
    fi
}
format() { files '*.c' '*.h' | xargs -r clang-format --dry-run --Werror; }
tidy() {
    mkdir -p "$stamps"
    find "$stamps" -type f -mtime +30 -delete
    find core server -name '*.c' | LC_ALL=C sort | xargs -r -n 1 -P 2 "$0" tidy-one
}
cpp_check() {
    mkdir -p build/lint/cppcheck
    cppcheck --enable=warning,performance,portability --std=c11 --inline-suppr --error-exitcode=1 -q -j 2 \
        -D_GNU_SOURCE -I. --cppcheck-build-dir=build/lint/cppcheck core server
}
shell_check() { files '*.sh' '.ci/run' | xargs -r shellcheck; }

stage clang-format format
stage layers tools/layers.sh
stage shellcheck shell_check
stage cppcheck cpp_check
stage clang-tidy tidy
exit "$failed"
