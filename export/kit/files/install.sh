#!/usr/bin/env bash
# Installs Starmark into ./venv beside this file: no network, no root, nothing outside this folder.
#
#   bash install.sh                               with the newest Python that can import CANN's pyACL
#   PYTHON=/path/to/python3 bash install.sh       with this one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# --isolated leaves pip's variables out, this its files: a box may have a pip.conf
export PIP_CONFIG_FILE=/dev/null

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

# Runs a command in a process group of its own, which a signal ends at once.
child=''
run() {
    local status=0
    set -m
    "$@" </dev/null &
    set +m
    child=$!
    wait "$child" || status=$?
    child=''
    return "$status"
}

end() {
    trap '' INT TERM HUP
    [ -z "$child" ] || { kill -KILL -- "-$child" && wait "$child"; } 2>/dev/null || true
    exit "$1"
}

# `venv` is a link to one of the environments in .venvs/, which is replaced in one step.
sweep() {
    local one
    for one in .venvs/*; do
        [ "$one" = "$(readlink venv)" ] || rm -rf "$one" || { sleep 1 && rm -rf "$one"; }
    done
    rmdir .venvs 2>/dev/null || true
}

# Where this Python has no ensurepip (Debian without python3-venv), its own pip fills the folder;
# fails where it has no pip either.
make_venv() {
    if run "$1" -I -m venv --prompt venv "$stage" >/dev/null 2>&1; then
        install() { run "$stage/bin/python" -I -m pip --isolated install "$@"; }
        return
    fi
    rm -rf "$stage"
    { run "$1" -I -m pip --version && run "$1" -I -m venv --prompt venv --without-pip "$stage"; } \
        >/dev/null 2>&1 || return 1
    base="$1"
    packages=$("$stage/bin/python" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))') ||
        return 1
    install() { run "$base" -I -m pip --isolated install --target "$packages" "$@"; }
}

# Makes `stage`, an environment of this version; fails with `reason`, and leaves none then.
stage='' reason='' pip_failed=''
fill_venv() {
    stage=".venvs/$1.$$"
    while [ -e "$stage" ]; do stage+=x; done
    if ! make_venv "${here[$1]}"; then
        reason='it has neither ensurepip nor pip'
    # no-deps: OpenCV's wheel asks for NumPy 2 but runs with the 1.26 that CANN's Python parts need
    elif ! install --quiet --disable-pip-version-check --no-index --no-deps --require-hashes \
        -r "${lists[$1]}"; then
        reason='pip failed, see above' pip_failed=1
    # its scripts name their own place
    elif "${here[$1]}" -I - "$stage" venv <<'PYTHON_END'; then
import os
import pathlib
import sys

made, final = (os.fsencode(os.path.abspath(name)) for name in sys.argv[1:])
for script in pathlib.Path(sys.argv[1], "bin").iterdir():
    if script.is_file() and not script.is_symlink():
        script.write_bytes(script.read_bytes().replace(made, final))
PYTHON_END
        return 0
    else
        reason='its scripts could not be written, see above'
    fi
    rm -rf "$stage"
    return 1
}

# Prints the last line of the failure, and fails with it. CANN's settings stay in here.
import_acl() (
    set +eu
    # shellcheck disable=SC1090  # found on this box
    [ -z "$script" ] || source "$script" >/dev/null 2>&1
    said=$(timeout 120 "$stage/bin/python" -c 'import acl' 2>&1)
    status=$?
    [ "$status" -ne 124 ] || said="no end within 120 s"
    [ "$status" -eq 0 ] || printf '%s\n' "${said:-exit status $status}" | tail -n 1
    exit "$status"
)

sha256sum -c --quiet --strict SHA256SUMS >&2 ||
    fail 2 "SHA256SUMS: expected the files it lists, got the ones named above." \
        "Copy the kit again and unpack it into an empty folder."
for file in wheels/*; do
    cut -c 67- SHA256SUMS | grep -qxF -- "$file" ||
        fail 2 "$file: expected only files that SHA256SUMS lists, got one more." \
            "Remove it, or unpack the kit into an empty folder."
done

find_pythons ||
    fail 3 "${PYTHON:-PATH}: expected Python ${PYTHONS// / or } on ${ARCHES// / or }," \
        "got $(kind_of "${PYTHON:-python3}" || echo none). Set PYTHON=/path/to/python, or make a kit" \
        "for this box with python -m export.kit --python VERSION --arch $(uname -m)."

if [ -e venv ] && [ ! -f venv/pyvenv.cfg ]; then
    fail 2 "venv: expected none, or one that this script made, got something else. Move it away."
fi

for any in "${here[@]}"; do break; done
# One run at a time: Python locks what this shell has open, and pip, too, if the shell is killed.
exec 9<install.sh
"$any" -I - <<'PYTHON_END' || warn "two runs at once in this folder would disturb each other"
import fcntl
import sys

try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("waiting for another install.sh in this folder", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
except OSError as error:
    sys.exit(f"install.sh: this file system has no locks ({error})")
PYTHON_END
trap 'end 130' INT
trap 'end 143' TERM
trap 'end 129' HUP
# stopped while it put another in the place of a folder that an older kit had made
[ -e venv ] || [ ! -d .venvs/before ] || mv .venvs/before venv
sweep
trap sweep EXIT
mkdir -p .venvs

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
    fallback="${fallback:-$stage}"
    if [ -z "$cann" ]; then
        printf 'Python %s (%s): taken; without CANN pyACL cannot be tried\n' "$version" "$python"
    elif said=$(import_acl); then
        printf 'Python %s (%s): taken, it imports acl\n' "$version" "$python"
    else
        printf 'Python %s (%s): import acl fails: %s\n' "$version" "$python" "$said"
        continue
    fi
    chosen="$stage"
    break
done
if [ -z "$fallback" ] && [ -n "$pip_failed" ]; then
    fail 4 "pip: expected to install what ${lists[$version]} names, got the error above." \
        "These wheels need glibc @GLIBC@ or later: see ldd --version."
elif [ -z "$fallback" ]; then
    fail 3 "${PYTHON:-PATH}: expected a Python with venv and with ensurepip or pip, got none." \
        "Install python3-venv or python3-pip, or set PYTHON to another one."
elif [ -z "$chosen" ]; then
    chosen="$fallback" version="${fallback#.venvs/}"
    warn "no Python here imports acl, see above; Python ${version%.*} is taken. An NPU cannot be used" \
        "before that is mended: run python -m runtime.doctor"
fi

# not isolated, as the next commands are not: PYTHONPATH comes before what was just installed
engine=''
! compgen -G 'wheels/onnxruntime-*' >/dev/null || engine=onnxruntime
"$chosen/bin/python" - $engine <<'PYTHON_END' || exit 4
import importlib
import sys

for name in ("numpy", "cv2", "msgspec", "runtime", "parity", *sys.argv[1:]):
    found = importlib.import_module(name).__file__
    if not found.startswith(sys.prefix):
        sys.exit(
            f"error: {name}: expected the one in {sys.prefix}, got {found}."
            " Take that folder out of PYTHONPATH."
        )
PYTHON_END

# from here on the new one lies there, whole; until here the old one did
trap '' INT TERM HUP
[ -L venv ] || [ ! -d venv ] || mv venv .venvs/before
ln -s "$chosen" .venvs/link
mv -Tf .venvs/link venv
sweep

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
[ -z "$engine" ] ||
    echo "  python -m parity.selftest bundle/@NAME@ --device cpu --output cpu.npz    # without an NPU"
