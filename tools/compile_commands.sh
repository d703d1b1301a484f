#!/usr/bin/env bash
# Prints compile_commands.json (for clangd and clang-tidy) with the flags the Makefile uses.
set -euo pipefail
cd "$(dirname "$0")/.."

quote() { # one JSON string
    local s=${1//\\/\\\\}
    printf '"%s"' "${s//\"/\\\"}"
}

read -ra flags < <(make -s --no-print-directory print-flags)
directory=$(quote "$PWD")
arguments=$(for flag in cc "${flags[@]}"; do printf '%s, ' "$(quote "$flag")"; done)
find core server tests -name '*.c' | LC_ALL=C sort | while read -r file; do
    name=$(quote "$file")
    printf '%s\n  {"directory": %s, "file": %s, "arguments": [%s"-c", %s]}' "${comma-[}" "$directory" "$name" \
        "$arguments" "$name"
    comma=,
done
printf '\n]\n'
