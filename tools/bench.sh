#!/usr/bin/env bash
# tools/bench.sh [--rounds N] [--precision ...] [FIGURE...]: what `make bench` runs: `darkmatter bench`
# on random weights of gemma-2-2b's sizes with a 16k SAE, then on the demo. The weights are made at
# first use in build/weights, or in the folder that BENCH_WEIGHTS names, and stay there.
set -euo pipefail
cd "$(dirname "$0")/.."

weights=${BENCH_WEIGHTS:-build/weights}
model=$weights/gemma-2-2b-bf16
saes=$weights/gemma-scope-2b-pt-res
sae=$saes/layer_20/width_16k/average_l0_71
make_weights=build/release/tests/tools/make_weights

missing=0 # MB; a size that is not right is a file that was not finished
size() { stat -Lc %s "$1" 2>/dev/null || echo 0; }
(($(size "$model/model.safetensors") > 5200000000)) || missing=$((missing + 5230))
(($(size "$sae/params.npz") > 300000000)) || missing=$((missing + 302))
if ((missing)); then
    mkdir -p "$weights"
    free=$(($(df -Pk "$weights" | awk 'NR == 2 {print $4}') / 1000))
    if ((free < missing + 500)); then
        echo "bench: the weights need $missing MB in $weights, and there are $free MB left there;" \
            "name a folder with more room: make bench BENCH_WEIGHTS=/elsewhere" >&2
        exit 1
    fi
    echo "bench: making random weights of gemma-2-2b's sizes in $weights: $missing MB of $free MB," \
        "less than a minute, once"
    if ((missing >= 5230)); then
        "$make_weights" model "$model" bf16=1 shards=1
    fi
    if ((missing % 5230)); then
        mkdir -p "$sae"
        "$make_weights" sae "$sae/params.npz"
    fi
fi

memory=$(($(awk '/^MemTotal/ {print $2}' /proc/meminfo 2>/dev/null || echo 0) / 1000))
((memory == 0 || memory > 7000)) ||
    echo "bench: $memory MB of memory do not hold these weights: what follows measures the disk" >&2

./darkmatter bench --model "$model" --saes "$saes" "$@"
echo
./darkmatter bench "$@"
