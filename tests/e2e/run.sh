#!/bin/sh
# End-to-end tests: the published npm client and headless Chromium against the real program.
# DARKMATTER=./darkmatter CHROMIUM=/usr/bin/chromium FILTER=part-of-a-name tests/e2e/run.sh
# The last line is "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/../.." || exit 1
here=tests/e2e
: "${DARKMATTER:=./darkmatter}" "${CHROMIUM:=/usr/bin/chromium}"
export DARKMATTER CHROMIUM
passed=0 failed=0 skipped=0

# The names of a file's tests, without running it (its packages may be missing).
names() {
    sed -n "s/^test('\(.*\)', async.*/\1/p" "$1"
}

skip() { # file, reason
    names "$1" > "$log"
    sed "s|.*|skipped & ($2)|" "$log"
    skipped=$((skipped + $(wc -l < "$log")))
}

run() { # file
    node "$1" 2>&1 | tee "$log"
    line=$(tail -n 1 "$log")
    case $line in
    *" passed, "*" failed")
        passed=$((passed + ${line%% passed*}))
        line=${line#*, }
        failed=$((failed + ${line%% failed*}))
        ;;
    *)
        echo "NOT OK  $1 ended before its tests did"
        failed=$((failed + 1))
        ;;
    esac
}

# Fetches the packages unless they are there. 1: the registry cannot be reached; 2: anything else.
packages() {
    [ -n "$(find $here/node_modules/.package-lock.json -newer $here/package-lock.json 2> /dev/null)" ] && return
    npm ci --prefix $here --no-audit --no-fund --fetch-retries=0 --fetch-timeout=60000 > "$log" 2>&1 && return
    cat "$log"
    grep -qE 'ENOTFOUND|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|EAI_AGAIN|ENOTCACHED|network' "$log" && return 1
    return 2
}

log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

if [ ! -x "$DARKMATTER" ]; then
    echo "$DARKMATTER: expected the program, found none; build it first: make darkmatter" >&2
    exit 2
fi
reason=
if ! command -v node > /dev/null; then
    reason="node is not installed"
elif ! command -v npm > /dev/null; then
    reason="npm is not installed"
else
    packages
    case $? in
    1) reason="the npm registry is unreachable" ;;
    2)
        echo "NOT OK  npm ci"
        failed=1
        reason="npm ci failed"
        ;;
    esac
fi
if [ -n "$reason" ]; then
    skip $here/client.mjs "$reason"
    skip $here/page.mjs "$reason"
    skip $here/browse.mjs "$reason"
    skip $here/tools.mjs "$reason"
else
    run $here/client.mjs
    if [ -x "$CHROMIUM" ]; then
        run $here/page.mjs
        run $here/browse.mjs
        run $here/tools.mjs
    else
        skip $here/page.mjs "$CHROMIUM is not installed"
        skip $here/browse.mjs "$CHROMIUM is not installed"
        skip $here/tools.mjs "$CHROMIUM is not installed"
    fi
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
