#!/usr/bin/env bash
# Sets everything up and runs all checks: formatting, lint, types, import contracts and tests.
#
#   bash scripts/test.sh                    everything
#   bash scripts/test.sh --fast             without the tests marked slow
#   bash scripts/test.sh tests/runtime -k crop      these tests only
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh

fast=()
if [ "${1:-}" = --fast ]; then
    fast=(-m "not slow and not browser and not ray")
    shift
fi
prepare_environment export,dev
if [ $# -eq 0 ]; then
    "$PYTHON" -m ruff format --check .
    "$PYTHON" -m ruff check .
    "$PYTHON" -m mypy
fi
exec "$PYTHON" -m pytest ${fast[@]+"${fast[@]}"} "$@"
