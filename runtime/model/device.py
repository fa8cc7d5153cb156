"""A device as people name it: `cpu`, `npu:0`, `cuda:1`, or an engine's own, as in `cpu:bf16`."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import ConfigError


@dataclass(frozen=True)
class Device:
    """Where a model runs. The only place where a device's text is taken apart.

    Attributes:
        kind: "auto", "cpu", "cuda", "npu", or an engine's own name of a device.
        index: its number; None where none was named.
        detail: what stands behind the colon in a number's place, such as a precision.
    """

    kind: str
    index: int | None = None
    detail: str = ""

    @classmethod
    def of(cls, text: str) -> Device:
        """Parse a device's name.

        Raises:
            ConfigError: a colon with nothing behind it.
        """
        kind, colon, beside = text.partition(":")
        if colon and not beside:
            raise ConfigError(
                f"device {text!r}",
                expected=f"{kind or 'npu'}, or with a number {kind or 'npu'}:0",
                got="nothing after the colon",
                action="Write the number, or leave the colon out",
            )
        if beside.isascii() and beside.isdecimal():
            return cls(kind, int(beside))
        return cls(kind, detail=beside)

    def __str__(self) -> str:
        beside = self.detail if self.index is None else str(self.index)
        return f"{self.kind}:{beside}" if beside else self.kind

    @property
    def number(self) -> int:
        """Its number, 0 where none was named."""
        return self.index or 0


CPU = Device("cpu")
