#!/usr/bin/env bash
# Installs Starmark into ./venv beside this file: no network, no root, nothing outside this folder.
#
#   bash install.sh                               with the first fitting Python on PATH
#   PYTHON=/path/to/python3 bash install.sh       with this one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

PYTHONS="@PYTHONS@"
ARCHES="@ARCHES@"
PACKAGES="numpy opencv-python-headless msgspec starmark"

fail() {
    local code="$1"
    shift
    printf 'error: %s\n' "$*" >&2
    exit "$code"
}

# "3.11 aarch64", asked of the interpreter: a shim on PATH may exist and not work
kind_of() {
    "$1" -I -c 'import platform, sys
print("%d.%d" % sys.version_info[:2], platform.machine())' 2>/dev/null
}

fits() {
    local version arch
    read -r version arch <<<"$(kind_of "$1")"
    [[ -n "$version" && " $PYTHONS " == *" $version "* && " $ARCHES " == *" $arch "* ]]
}

find_python() {
    local name
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" && printf '%s' "$PYTHON"
        return
    fi
    for name in python3 $(printf 'python%s ' $PYTHONS) python; do
        if fits "$name"; then
            printf '%s' "$name"
            return
        fi
    done
    return 1
}

# Where this Python has no ensurepip (Debian without python3-venv), its own pip fills the folder.
make_venv() {
    rm -rf venv
    if "$1" -I -m venv venv >/dev/null 2>&1; then
        install() { venv/bin/python -I -m pip --isolated install "$@"; }
        return
    fi
    rm -rf venv
    if ! { "$1" -I -m pip --version && "$1" -I -m venv --without-pip venv; } >/dev/null 2>&1; then
        rm -rf venv
        fail 3 "$1: expected a Python with venv and with ensurepip or pip, got one without." \
            "Install python3-venv or python3-pip, or set PYTHON to another one."
    fi
    base="$1"
    packages=$(venv/bin/python -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    install() { "$base" -I -m pip --isolated install --target "$packages" "$@"; }
}

sha256sum -c --quiet --strict SHA256SUMS >&2 ||
    fail 2 "SHA256SUMS: expected the files it lists, got the ones named above." \
        "Copy the kit again and unpack it into an empty folder."

python=$(find_python) ||
    fail 3 "${PYTHON:-PATH}: expected Python ${PYTHONS// / or } on ${ARCHES// / or }," \
        "got $(kind_of "${PYTHON:-python3}" || echo none). Set PYTHON=/path/to/python, or make a kit" \
        "for this box with python -m export.kit --python VERSION --arch $(uname -m)."

if [ -e venv ] && [ ! -f venv/pyvenv.cfg ]; then
    fail 2 "venv: expected none, or one that this script made, got something else. Move it away."
fi
make_venv "$python"
# no-deps: OpenCV's wheel asks for NumPy 2 but runs with the 1.26 that CANN's Python parts need
# shellcheck disable=SC2086  # PACKAGES is a list
install --quiet --disable-pip-version-check --no-index --no-deps --find-links wheels $PACKAGES ||
    fail 4 "pip: expected to install $PACKAGES from wheels/, got the error above." \
        "These wheels need glibc @GLIBC@ or later: see ldd --version."

# not isolated, as the next commands are not: PYTHONPATH comes before what was just installed
venv/bin/python - <<'PYTHON_END' || exit 4
import importlib
import sys

for name in ("numpy", "cv2", "msgspec", "runtime", "parity"):
    found = importlib.import_module(name).__file__
    if not found.startswith(sys.prefix):
        sys.exit(
            f"error: {name}: expected the one in {sys.prefix}, got {found}."
            " Take that folder out of PYTHONPATH."
        )
PYTHON_END

cat <<'NEXT'
Installed. Next, in this folder (CANN 8.5 and later: source /usr/local/Ascend/cann/set_env.sh):
  source /usr/local/Ascend/ascend-toolkit/set_env.sh
  . venv/bin/activate
  python -m parity.selftest bundle/@NAME@ --device npu:0 --output box.npz
NEXT
