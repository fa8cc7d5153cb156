#!/usr/bin/env bash
# Installs Starmark into ./venv beside this file: no network, no root, nothing outside this folder.
#
#   bash install.sh                               with the newest Python that can import CANN's pyACL
#   PYTHON=/path/to/python3 bash install.sh       with this one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

PYTHONS="@PYTHONS@"
ARCHES="@ARCHES@"
WHEEL="wheels/@WHEEL@"

fail() {
    local code="$1"
    shift
    printf 'error: %s\n' "$*" >&2
    exit "$code"
}

warn() {
    printf 'warning: %s\n' "$*" >&2
}

# "3.11 aarch64", printed by the interpreter itself: a shim on PATH may exist and not work
kind_of() {
    "$1" -I -c 'import platform, sys
print("%d.%d" % sys.version_info[:2], platform.machine())' 2>/dev/null
}

# Fills `here`: for each of the kit's Pythons the interpreter that is there; and `lists`: what is
# installed into it.
declare -A here=() lists=()
find_pythons() {
    local name version arch names
    read -ra names <<<"$(printf 'python%s ' $PYTHONS) python3 python"
    [ -z "${PYTHON:-}" ] || names=("$PYTHON")
    for name in "${names[@]}"; do
        version='' arch=''
        read -r version arch <<<"$(kind_of "$name")" || true
        if [[ -n "$version" && " $PYTHONS " == *" $version "* && " $ARCHES " == *" $arch "* ]]; then
            [ -n "${here[$version]:-}" ] || lists[$version]="wheels/$version-$arch.txt"
            here[$version]="${here[$version]:-$name}"
        fi
    done
    [ "${#here[@]}" -gt 0 ]
}

# Sets cann, script and order. Our own wheel holds the reader of CANN's version files.
cann='' script='' order="$PYTHONS"
find_cann() {
    local line said
    said=$("$1" -I -c 'import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module("runtime.doctor.acl_python", run_name="__main__")' "$PWD/$WHEEL" "${!here[@]}") ||
        warn "$WHEEL could not look for CANN, see above: Pythons are tried as they come"
    while read -r line; do
        case "$line" in
        cann=*) cann="${line#cann=}" ;;
        script=*) script="${line#script=}" ;;
        order=*) order="${line#order=}" ;;
        esac
    done <<<"$said"
}

# Where this Python has no ensurepip (Debian without python3-venv), its own pip fills the folder;
# fails where it has no pip either.
make_venv() {
    rm -rf venv
    if "$1" -I -m venv venv >/dev/null 2>&1; then
        install() { venv/bin/python -I -m pip --isolated install "$@"; }
        return
    fi
    rm -rf venv
    { "$1" -I -m pip --version && "$1" -I -m venv --without-pip venv; } >/dev/null 2>&1 || return 1
    base="$1"
    packages=$(venv/bin/python -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))') ||
        return 1
    install() { "$base" -I -m pip --isolated install --target "$packages" "$@"; }
}

# Of this version; fails with `reason`, and leaves no environment then.
reason='' pip_failed=''
fill_venv() {
    if ! make_venv "${here[$1]}"; then
        reason='it has neither ensurepip nor pip'
    # no-deps: OpenCV's wheel asks for NumPy 2 but runs with the 1.26 that CANN's Python parts need
    elif install --quiet --disable-pip-version-check --no-index --no-deps --require-hashes \
        -r "${lists[$1]}"; then
        return 0
    else
        reason='pip failed, see above' pip_failed=1
    fi
    rm -rf venv
    return 1
}

# Prints the last line of the failure, and fails with it. CANN's settings stay in here.
import_acl() (
    set +eu
    # shellcheck disable=SC1090  # found on this box
    [ -z "$script" ] || source "$script" >/dev/null 2>&1
    said=$(timeout 120 venv/bin/python -c 'import acl' 2>&1)
    status=$?
    [ "$status" -ne 124 ] || said="no end within 120 s"
    [ "$status" -eq 0 ] || printf '%s\n' "${said:-exit status $status}" | tail -n 1
    exit "$status"
)

sha256sum -c --quiet --strict SHA256SUMS >&2 ||
    fail 2 "SHA256SUMS: expected the files it lists, got the ones named above." \
        "Copy the kit again and unpack it into an empty folder."

find_pythons ||
    fail 3 "${PYTHON:-PATH}: expected Python ${PYTHONS// / or } on ${ARCHES// / or }," \
        "got $(kind_of "${PYTHON:-python3}" || echo none). Set PYTHON=/path/to/python, or make a kit" \
        "for this box with python -m export.kit --python VERSION --arch $(uname -m)."

if [ -e venv ] && [ ! -f venv/pyvenv.cfg ]; then
    fail 2 "venv: expected none, or one that this script made, got something else. Move it away."
fi

for any in "${here[@]}"; do break; done
find_cann "$any"
found=()
for version in $order; do
    [ -z "${here[$version]:-}" ] || found+=("$version")
done
printf '%s. Pythons of this kit on this box, in the order to try: %s\n' \
    "${cann:-No CANN found}" "${found[*]}"
chosen='' fallback=''
for version in "${found[@]}"; do
    python="${here[$version]}"
    if ! fill_venv "$version"; then
        printf 'Python %s (%s): %s\n' "$version" "$python" "$reason"
        continue
    fi
    fallback="${fallback:-$version}"
    if [ -z "$cann" ]; then
        printf 'Python %s (%s): taken; without CANN pyACL cannot be tried\n' "$version" "$python"
    elif said=$(import_acl); then
        printf 'Python %s (%s): taken, it imports acl\n' "$version" "$python"
    else
        printf 'Python %s (%s): import acl fails: %s\n' "$version" "$python" "$said"
        continue
    fi
    chosen="$version"
    break
done
if [ -z "$fallback" ] && [ -n "$pip_failed" ]; then
    fail 4 "pip: expected to install what ${lists[$version]} names, got the error above." \
        "These wheels need glibc @GLIBC@ or later: see ldd --version."
elif [ -z "$fallback" ]; then
    fail 3 "${PYTHON:-PATH}: expected a Python with venv and with ensurepip or pip, got none." \
        "Install python3-venv or python3-pip, or set PYTHON to another one."
elif [ -z "$chosen" ]; then
    # the last one that was tried lies in venv/, or none where that failed
    [ "$fallback" = "$version" ] || fill_venv "$fallback" ||
        fail 4 "venv: expected Python $fallback again, which could be installed before," \
            "got: $reason. Free disk space, and run this again."
    warn "no Python here imports acl, see above; Python $fallback is taken. An NPU cannot be used" \
        "before that is mended: run python -m runtime.doctor"
fi

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

echo "Installed. Next, in this folder:"
if [ -n "$script" ]; then
    printf '  source %q\n' "$script"
elif [ -z "$cann" ]; then
    echo "  source /usr/local/Ascend/ascend-toolkit/set_env.sh    # CANN 8.5 and later: .../Ascend/cann"
fi
cat <<'NEXT'
  . venv/bin/activate
  python -m parity.selftest bundle/@NAME@ --device npu:0 --output box.npz
NEXT
