#!/usr/bin/env bash
# Sets everything up and does the main job: the starter model to a judged bundle in build/starter68.
#
#   bash scripts/export.sh                                        the embedded starter model
#   bash scripts/export.sh --config configs/star68.toml ...       anything python -m export takes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh

prepare_environment export
"$PYTHON" -m export "$@"

# the next commands, for the environment that was used
case "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" in
"") activate=". .venv/bin/activate" ;;
*) activate="" ;;
esac
for argument in "$@"; do
    case "$argument" in --dry-run | --help | -h | --version) exit 0 ;; esac
done
cat <<EOF

Next${activate:+ (after $activate)}:
  python -m runtime.infer --input assets/test.jpg --output landmarks.png --contour
  python -m parity.compare
  python -m export --help
EOF
