"""The heading of a run: its model, engine, input and options, the same when it is continued."""

from __future__ import annotations

import msgspec

from runtime.errors import ConfigError, InputError
from runtime.files import sha256_file
from runtime.files.reading import DamageError, decode_json
from runtime.model.manifest import MANIFEST_NAME, read_manifest
from runtime.model.source import Source, find_artifact


class Heading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run's rows depend on: a run with another one is another run.

    Attributes:
        model: see `digest_of`.
        engine: its name, its version where it is open, and the device.
        given: the input as it was named, or a digest of the list of inputs.
        options: what else changes the rows or the files beside them.
    """

    model: str
    engine: str
    given: str
    options: dict[str, str]

    def check(self, noted: bytes, where: str) -> None:
        """Compare with what an earlier run noted.

        Raises:
            InputError: that is no heading.
            ConfigError: it is another run's.
        """
        try:
            found = decode_json(noted, Heading)
        except DamageError as error:
            raise InputError(
                where,
                expected="the heading of a run to continue",
                got=str(error),
                action="Write to another folder, or remove this file to start over",
            ) from error
        differing = ", ".join(
            f"{name} {getattr(found, name)!r}"
            for name in self.__struct_fields__
            if getattr(found, name) != getattr(self, name)
        )
        if differing:
            raise ConfigError(
                where,
                expected="the same model, engine, input and options as the run to continue",
                got=differing,
                action="Continue it with its own options, or write to another folder",
            )


def digest_of(source: Source) -> str:
    """The digest of a bundle's manifest, or SHA-256 of the file of a model without one.

    Raises:
        ArtifactError: there is no model.
    """
    if (source.path / MANIFEST_NAME).is_file():
        return read_manifest(source.path).digest  # the same for a bundle made again
    return sha256_file(find_artifact(source).path)
