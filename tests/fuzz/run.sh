#!/usr/bin/env bash
# tests/fuzz/run.sh SECONDS: for each tests/fuzz/fuzz_NAME.c, replays tests/fuzz/regression/NAME (inputs
# that once failed), then fuzzes for SECONDS from tests/fuzz/corpus/NAME. What is found on the way is
# kept in build/fuzz/corpus/NAME for the next run; an input that fails lands in build/fuzz/found.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
seconds=${1:?usage: tests/fuzz/run.sh SECONDS}
found=build/fuzz/found
mkdir -p "$found"
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
passed=0 failed=0

report() { # STATUS SENTENCE LOG
    if (($1 == 0)); then
        printf '  ok      %s\n' "$2"
        passed=$((passed + 1))
    else
        printf '  FAILED  %s\n' "$2"
        tail -n 40 "$3"
        failed=$((failed + 1))
    fi
}

for source in tests/fuzz/fuzz_*.c; do
    [ -e "$source" ] || continue
    fuzzer=$(basename "$source" .c)
    name=${fuzzer#fuzz_}
    scratch=build/fuzz/corpus/$name
    log=build/fuzz/$name.log
    mkdir -p "$scratch"

    inputs=()
    for input in tests/fuzz/regression/"$name"/*; do
        [ -f "$input" ] && inputs+=("$input")
    done
    if ((${#inputs[@]})); then
        "build/fuzz/$fuzzer" -rss_limit_mb=2048 "${inputs[@]}" >"$log" 2>&1
        report $? "$name: ${#inputs[@]} inputs that once failed" "$log"
    fi

    folders=("$scratch")
    [ -d "tests/fuzz/corpus/$name" ] && folders+=("tests/fuzz/corpus/$name")
    options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
        -artifact_prefix="$found/$name-")
    [ -e "tests/fuzz/$name.dict" ] && options+=(-dict="tests/fuzz/$name.dict")
    "build/fuzz/$fuzzer" "${options[@]}" "${folders[@]}" >"$log" 2>&1
    status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    report $status "$name: ${runs:-0} inputs in $seconds s" "$log"
done

if ((passed + failed == 0)); then
    echo "no fuzzers found under tests/fuzz/"
    failed=1
fi
((failed == 0)) || echo "mend it, then keep the input: cp $found/NAME-... tests/fuzz/regression/NAME/"
echo "$passed passed, $failed failed"
((failed == 0))
