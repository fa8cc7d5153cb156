"""Which package quantises; asked of metadata, because most exports need none of it."""

from __future__ import annotations

from importlib import metadata

from runtime.errors import BackendUnavailable


def quantiser() -> str:
    """Name and version, for the manifest.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        return f"nncf {metadata.version('nncf')}"
    except metadata.PackageNotFoundError as error:
        raise BackendUnavailable(
            "--precision int8",
            expected="the package nncf, which quantises",
            got="none",
            action="Install it with pip install '.[int8]'",
        ) from error
