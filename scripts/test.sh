#!/usr/bin/env bash
# Sets everything up and runs all checks: formatting, lint, types, import contracts and tests.
#
#   bash scripts/test.sh                    everything
#   bash scripts/test.sh tests/runtime -k crop      these tests only
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh

prepare_environment export,dev
if [ $# -eq 0 ]; then
    "$PYTHON" -m ruff format --check .
    "$PYTHON" -m ruff check .
    "$PYTHON" -m mypy
fi
"$PYTHON" -m pytest "$@"
