#!/usr/bin/env bash
# The documentation tells the truth: every curl and Python example of docs/api.md and README.md is run
# against the real program on the demo and answers what the page says; every route has its section
# and every flag its line.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

program=${DARKMATTER:-$PWD/darkmatter}
for tool in python3 curl; do
    if ! command -v "$tool" >/dev/null; then
        echo "  skipped the_documentation: $tool is not installed"
        echo "0 passed, 0 failed, 1 skipped"
        exit 0
    fi
done

export no_proxy=localhost,127.0.0.1 NO_PROXY=localhost,127.0.0.1
folder=$(mktemp -d)
"$program" serve --port 0 --no-auto-index --db "$folder/docs.db" >"$folder/out" 2>"$folder/err" &
server=$!
stop() {
    kill "$server" 2>/dev/null
    wait "$server" 2>/dev/null
    rm -rf "$folder"
}
trap stop EXIT

base=
for _ in $(seq 300); do # 30 s
    base=$(grep -o 'http://127.0.0.1:[0-9]*' "$folder/out")
    [ -z "$base" ] || break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
if [ -z "$base" ]; then
    echo "  FAILED  the_server_starts"
    cat "$folder/err"
    echo "0 passed, 1 failed"
    exit 1
fi
python3 tests/cli/check_docs.py "$base" "$program"
