#!/usr/bin/env bash
# The Python reader in docs/database.md, taken from the page, reads a database of the store's own test
# program bit for bit; the page's commands for backup and for emptying the cache work on it.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

sampler=$(dirname "${DARKMATTER:-build/release/darkmatter}")/tests/test_store
for tool in python3 sqlite3; do
    if ! command -v "$tool" >/dev/null; then
        echo "  skipped the_page_of_the_database: $tool is not installed"
        echo "0 passed, 0 failed, 1 skipped"
        exit 0
    fi
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
page=$PWD/docs/database.md
passed=0 failed=0
check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@"; then
        echo "  ok      $name"
        passed=$((passed + 1))
    else
        echo "  FAILED  $name"
        failed=$((failed + 1))
    fi
}

makes_a_sample() {
    "$sampler" --sample "$folder/lab.db" >"$folder/expected" && [ "$(wc -l <"$folder/expected")" -gt 500 ]
}

# The reader prints values; here it prints their bits, to be compared with the sample's.
reads_every_activation() {
    # shellcheck disable=SC2016 # Markdown's fence
    sed -n '/^```python$/,/^```$/p' "$page" | sed '1d;$d' >"$folder/reader.py"
    [ "$(wc -l <"$folder/reader.py")" -gt 15 ] || return 1
    sed 's/print(.*)$/print(position, tokens[position], index, struct.pack(">f", value).hex())/' \
        "$folder/reader.py" >"$folder/reader_bits.py"
    python3 "$folder/reader_bits.py" "$1" >"$folder/found" || return 1
    diff <(quiet_nans <"$folder/expected") <(quiet_nans <"$folder/found") >&2
}
# Python makes a signalling NaN quiet: the bit that says so is set on both sides.
quiet_nans() {
    python3 -c '
import sys
for line in sys.stdin:
    *where, bits = line.split()
    bits = int(bits, 16)
    print(*where, f"{bits | 0x400000 if bits & 0x7FFFFFFF > 0x7F800000 else bits:08x}")'
}

prints_as_many_lines_unchanged() {
    [ "$(python3 "$folder/reader.py" "$folder/lab.db" | wc -l)" -eq "$(wc -l <"$folder/expected")" ]
}

command_of_the_page() { # PATTERN: the indented line that contains it
    grep -F -m 1 -- "$1" <(grep '^    sqlite3 ' "$page")
}

backs_up() {
    local line
    line=$(command_of_the_page .backup) && (cd "$folder" && bash -c "$line") &&
        reads_every_activation "$folder/copy.db"
}

empties_the_cache() {
    local line
    line=$(command_of_the_page 'DELETE FROM activation') && (cd "$folder" && bash -c "$line") &&
        [ -z "$(python3 "$folder/reader.py" "$folder/lab.db")" ] &&
        [ "$(sqlite3 "$folder/lab.db" 'SELECT sum(activations) FROM source')" = 0 ]
}

reads_the_pages_of_features() {
    "${sampler%test_store}test_dashboards" --sample "$folder/pages.db" >"$folder/pages" || return 1
    # shellcheck disable=SC2016 # Markdown's fence
    sed -n -e '/^```python$/,/^```$/p' -e '/^```py$/,/^```$/p' "$page" | grep -v '^```' >"$folder/pages.py"
    [ -s "$folder/pages" ] && diff "$folder/pages" <(python3 "$folder/pages.py" "$folder/pages.db") >&2
}

check makes_a_sample makes_a_sample
check reads_every_activation_bit_for_bit reads_every_activation "$folder/lab.db"
check the_reader_runs_as_printed prints_as_many_lines_unchanged
check reads_the_pages_of_features reads_the_pages_of_features
check the_backup_command_copies_everything backs_up
check the_emptying_command_empties_the_cache empties_the_cache
echo "$passed passed, $failed failed"
((failed == 0))
