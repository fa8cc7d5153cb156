# Sourced by export.sh and test.sh: a Python environment with this project's packages in it.
#
#   prepare_environment EXTRAS   sets PYTHON; installs only when something has changed

say() { printf '%s\n' "$*" >&2; }

# The first Python from 3.10 on. Names are tried by running them: a pyenv shim may exist and not work.
find_python() {
    local name
    for name in "${PYTHON:-}" python3 python3.12 python3.11 python3.10 python; do
        [ -n "$name" ] || continue
        if "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2])' 2>/dev/null; then
            command -v "$name"
            return 0
        fi
    done
    say "error: PATH: expected Python 3.10 or later, got none. Install it, or set PYTHON=/path/to/python3."
    return 3
}

# A .venv, also where this Python has no ensurepip (Debian without python3-venv): pip is then put
# into it from outside, which an externally managed Python allows, because nothing of it is touched.
make_venv() {
    local base="$1" venv="$2" packages
    say "making $venv with $("$base" --version 2>&1)"
    rm -rf "$venv"
    if "$base" -m venv "$venv" >/dev/null 2>&1; then return 0; fi
    rm -rf "$venv"
    if "$base" -m venv --without-pip "$venv" >/dev/null 2>&1; then
        packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
        if "$base" -m pip install --quiet --disable-pip-version-check --target "$packages" pip; then
            return 0
        fi
    fi
    rm -rf "$venv"
    say "error: $base: expected a Python with venv and with pip or ensurepip, got one without." \
        "Install python3-venv and python3-pip, or set PYTHON to another one."
    return 3
}

# Whether this Python takes our packages from this folder: `pip install .` would put a copy there,
# which goes stale with the next change.
is_editable() {
    [ "$("$1" -I -c 'import importlib.util as u; print(u.find_spec("runtime").origin)' 2>/dev/null)" = \
        "$(pwd -P)/runtime/__init__.py" ]
}

prepare_environment() {
    local extras="$1" base venv python stamp wanted
    if [ -n "${VIRTUAL_ENV:-}" ] && [ -x "$VIRTUAL_ENV/bin/python" ]; then
        venv="$VIRTUAL_ENV"
    elif [ -n "${CONDA_PREFIX:-}" ] && [ -x "$CONDA_PREFIX/bin/python" ]; then
        venv="$CONDA_PREFIX"
    else
        venv="$PWD/.venv"
    fi
    python="$venv/bin/python"

    # what was installed last, so that a second run makes no pip call
    stamp="$venv/.starmark-$extras"
    wanted=$(cat pyproject.toml constraints.txt | cksum; pwd)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && is_editable "$python"; then
        say "up to date: packages in $venv"
        PYTHON="$python"
        return 0
    fi
    # a .venv whose making was interrupted has no pip, and is made again
    if [ "$venv" = "$PWD/.venv" ] && ! "$python" -m pip --version >/dev/null 2>&1; then
        base=$(find_python) || return $?
        make_venv "$base" "$venv" || return $?
    fi
    PYTHON="$python"
    say "installing packages into $venv (a few minutes the first time)"
    if ! "$PYTHON" -m pip install --quiet --disable-pip-version-check \
        --constraint constraints.txt --editable ".[$extras]"; then
        say "error: pip: expected to install .[$extras], got the error above." \
            "On a closed network set PIP_INDEX_URL to your mirror, or PIP_NO_INDEX=1 and PIP_FIND_LINKS to a folder" \
            "of wheels that python3 -m pip download -c constraints.txt -d wheels pip \".[$extras]\" filled elsewhere."
        return 3
    fi
    printf '%s' "$wanted" >"$stamp"
}
