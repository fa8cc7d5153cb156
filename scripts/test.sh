#!/usr/bin/env bash
# Sets everything up and runs all checks: formatting, lint, types, import contracts and tests.
#
#   bash scripts/test.sh                    everything
#   bash scripts/test.sh --fast             without the tests marked slow, browser or ray
#   bash scripts/test.sh tests/runtime -k crop      these tests only
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh

options=()
if [ "${1:-}" = --fast ]; then
    options=(-m "not slow and not browser and not ray")
    shift
fi
prepare_environment export,dev
if [ $# -eq 0 ]; then
    "$PYTHON" -m ruff format --check .
    "$PYTHON" -m ruff check .
    "$PYTHON" -m mypy
    # a file's tests stay together: they share what they export
    options+=(-n auto --maxprocesses 4 --dist loadfile)
fi
exec "$PYTHON" -m pytest ${options[@]+"${options[@]}"} "$@"
