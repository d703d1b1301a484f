#!/usr/bin/env bash
# The real program on a small export made by hand: import, again from stdin, export, import of the
# export into an empty database, and what it says about wrong input.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

program=${DARKMATTER:-build/release/darkmatter}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
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

source=20-gemmascope-res-16k
mkdir -p "$folder/in/explanations" "$folder/in/features" "$folder/in/activations"
echo '{"id":"gemma-2-2b","displayName":"Gemma 2 2B"}' >"$folder/in/model.jsonl"
cat <<END | gzip >"$folder/in/explanations/batch-0.jsonl.gz"
{"id":"a","modelId":"gemma-2-2b","layer":"$source","index":"12082","description":"dogs","embedding":"[1,2]","typeName":"t","umap_x":1.25}
{"id":"b","modelId":"gemma-2-2b","layer":"$source","index":5,"description":"cats"}
{"id":"c","modelId":"gemma-2-2b","layer":"$source","index":6,"description":""}
END
cat <<END | gzip >"$folder/in/features/batch-0.jsonl.gz"
{"modelId":"gemma-2-2b","layer":"$source","index":"5","pos_str":[" cat"],"pos_values":[0.5],"frac_nonzero":0.00238}
END
cat <<END >"$folder/in/activations/batch-0.jsonl"
{"id":"x","modelId":"gemma-2-2b","layer":"$source","index":"5","tokens":[" a"," cat"],"values":[0,2.5],"maxValue":2.5}
END

imports_a_folder() {
    local out
    out=$("$program" import --db "$folder/a.db" "$folder/in" 2>"$folder/err") && [ ! -s "$folder/err" ] &&
        [[ $out == "2 explanations, 1 features, 1 activations imported; 1 explanations without a description and 1 lines of other kinds left out; 0 wrong" ]]
}
imports_the_same_from_the_standard_input() {
    local out
    out=$("$program" import --db "$folder/a.db" - <"$folder/in/explanations/batch-0.jsonl.gz") &&
        [[ $out == "2 explanations,"* ]]
}
exports() { # DATABASE FOLDER
    "$program" export --db "$folder/$1" --model-id gemma-2-2b --source "$source" "$folder/$2" >"$folder/out" &&
        grep -q '^1 features, 1 activations (imported ones, as they came), 2 explanations' "$folder/out"
}
comes_back_the_same() {
    exports a.db one && "$program" import --db "$folder/b.db" "$folder/one" >"$folder/out" &&
        exports b.db two && diff -r "$folder/one" "$folder/two" &&
        cmp <(zcat "$folder/one/features/batch-0.jsonl.gz") <(zcat "$folder/in/features/batch-0.jsonl.gz") &&
        cmp <(zcat "$folder/one/activations/batch-0.jsonl.gz") "$folder/in/activations/batch-0.jsonl"
}
names_wrong_lines_and_exits_with_1() {
    printf '%s\n' '{"id":"d","modelId":"m","layer":"s","index":1,"description":"kept"}' 'wrong' >"$folder/w.jsonl"
    "$program" import --db "$folder/a.db" "$folder/w.jsonl" >"$folder/out" 2>"$folder/err"
    [ $? -eq 1 ] && grep -q "w.jsonl:2: not valid JSON" "$folder/err" && grep -q '^1 explanations.* 1 wrong$' "$folder/out"
}
refuses() { # PATTERN STATUS ARGUMENTS...
    local pattern=$1 status=$2
    shift 2
    "$program" "$@" >"$folder/out" 2>"$folder/err"
    [ $? -eq "$status" ] && grep -q -- "$pattern" "$folder/err"
}
export_says_that_it_knows_nothing() { # the demo, which has a tokenizer
    refuses "nothing of source \"none\" of model \"gemma-2-demo\"" 1 \
        export --db "$folder/a.db" --source none "$folder/none"
}

check imports_a_folder imports_a_folder
check imports_the_same_from_the_standard_input imports_the_same_from_the_standard_input
check comes_back_the_same comes_back_the_same
check names_wrong_lines_and_exits_with_1 names_wrong_lines_and_exits_with_1
check import_needs_something_to_read refuses "expected files, folders" 2 import --db "$folder/a.db"
check import_names_a_missing_file refuses "$folder/no.jsonl" 1 import --db "$folder/a.db" "$folder/no.jsonl"
check export_needs_a_source refuses "expected one --source" 2 export --db "$folder/a.db" "$folder/x"
check export_takes_no_second_source refuses "expected one --source" 2 \
    export --db "$folder/a.db" --source a --source b "$folder/x"
check export_needs_one_folder refuses "one folder" 2 export --db "$folder/a.db" --source s
check export_refuses_a_folder_that_is_not_empty refuses "new or empty folder" 1 \
    export --db "$folder/a.db" --model-id gemma-2-2b --source "$source" "$folder/one"
check export_says_that_it_knows_nothing export_says_that_it_knows_nothing
echo "$passed passed, $failed failed"
((failed == 0))
