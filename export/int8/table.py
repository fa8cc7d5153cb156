"""The [int8] table: the budget, and the pictures that stand for the use; and what quantises."""

from __future__ import annotations

import math

import msgspec

from parity.judging.expected import COVARIANCE_OF_INT8, USUAL_P99_PX
from parity.judging.verdict import Limits
from parity.plan.search import Budget
from runtime.errors import BackendUnavailable, ConfigError
from runtime.machine.packages import MISSING, install_command, module_version


class Int8Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [int8] table. Limits are in crop px, over |dx| and |dy|, against the checkpoint.

    Attributes:
        calibration: pictures, folders or globs that the ranges are taken from; without any, cuts of
            the embedded picture.
        validation: pictures that the budget is held on; without any, every third one of
            `calibration` is set aside for it.
        max_mean_px, max_error_px, max_p95_px, max_p99_px: the budget; without any of them, P99 0.5.
    """

    calibration: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    max_mean_px: float | None = None
    max_error_px: float | None = None
    max_p95_px: float | None = None
    max_p99_px: float | None = None

    @property
    def limits(self) -> Limits:
        """The budget as the verdict's limits."""
        given = (self.max_mean_px, self.max_error_px, self.max_p95_px, self.max_p99_px)
        p99 = USUAL_P99_PX if given == (None,) * len(given) else self.max_p99_px
        return Limits(
            max_mean_px=self.max_mean_px,
            max_error_px=self.max_error_px,
            max_p95_px=self.max_p95_px,
            max_p99_px=p99,
            unit="crop",
            **COVARIANCE_OF_INT8,
        )

    @property
    def budget(self) -> Budget:
        """The budget for a search."""
        named = {field: limit for _, field, limit in self.limits.named()}
        return Budget(limits_px=named, unit="crop")

    @staticmethod
    def limits_of(budget: Budget) -> dict[str, float | None]:
        """The table's keys for a budget, which replaces all of an old one."""
        names = {"mean": "mean", "max": "error", "p95": "p95", "p99": "p99"}
        return {f"max_{key}_px": budget.limits_px.get(name) for name, key in names.items()}

    def check(self, where: str) -> None:
        """Refuse a budget that nothing can meet, or pictures that cannot be meant.

        Raises:
            ConfigError: a limit that is no positive number, or validation without calibration.
        """
        for name, _, limit in self.limits.named():
            if not (math.isfinite(limit) and limit > 0):
                raise ConfigError(
                    f"{where}: max_{name}",
                    expected="a finite number of crop px above 0: int8 never gives the same bits",
                    got=repr(limit),
                    action="Write --budget p99=0.5, for example",
                )
        if self.validation and not self.calibration:
            raise ConfigError(
                f"{where}: validation",
                expected="calibration pictures beside them",
                got="none",
                action="Name pictures for --calibration, too",
            )


def quantiser() -> str:
    """The quantising package's name and version, by its metadata: most exports need none of it.

    Raises:
        BackendUnavailable: it is not installed.
    """
    version = module_version("nncf")
    if version == MISSING:
        raise BackendUnavailable(
            "--precision int8",
            expected="the package nncf, which quantises",
            got="none",
            action=install_command("nncf"),
        )
    return f"nncf {version}"
