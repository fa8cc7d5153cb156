#!/usr/bin/env bash
# Sets everything up, exports what is missing, and measures everything side by side.
#
#   bash scripts/benchmark.sh                               the embedded starter model
#   bash scripts/benchmark.sh weights.pkl                   the full-size model, too
#   bash scripts/benchmark.sh weights.pkl --runs 50 ...     anything python -m benchmarks.suite takes
#   FULL_SIZE_WEIGHTS=weights.pkl bash scripts/benchmark.sh
#   CALIBRATION=photos/ bash scripts/benchmark.sh           int8 calibrated and judged on your pictures
#
# The result is build/benchmark/suite.json, suite.txt and suite.png, or in --output.
set -euo pipefail
here="$PWD"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh

weights="${FULL_SIZE_WEIGHTS:-}"
case "${1:-}" in
"" | -*) ;;
*) weights="$1" && shift ;;
esac
case "$weights" in
"" | /*) ;;
*) weights="$here/$weights" ;; # as the caller meant it
esac
if [ -n "$weights" ] && [ ! -f "$weights" ]; then
    say "error: $weights: expected the full-size model's weights, got no such file. Check the path."
    exit 2
fi

calibration="${CALIBRATION:-}"
case "$calibration" in
"" | /*) ;;
*) calibration="$here/$calibration" ;;
esac

prepare_environment export,int8,openvino

# A peer that is measured beside our own rows, and needed by nothing else.
"$PYTHON" -c 'import importlib.metadata as m; m.version("mnn")' 2>/dev/null ||
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt mnn ||
    say "went on without MNN: its rows will say so"

# An export that fails is a row of the report with its reason, and no end of the others.
bundle() {
    local folder="$1"
    shift
    [ -f "$folder/manifest.json" ] || "$PYTHON" -m export "$@" --output "$folder" ||
        say "went on without $folder: its rows will say so"
}

bundles() {
    local name="$1"
    shift
    bundle "build/$name" "$@"
    bundle "build/${name}_plain" "$@" --rewrites none
    bundle "build/${name}_int8" "$@" --precision int8 --budget p99=0.5 \
        ${calibration:+--calibration "$calibration"}
}

models=(starter68=assets/starter68.safetensors)
bundles starter68 --config configs/starter68.toml
if [ -n "$weights" ]; then
    models+=("star68=$weights")
    bundles star68 --config configs/star68.toml --weights "$weights"
fi
"$PYTHON" -m benchmarks.suite --models "${models[@]}" "$@"
