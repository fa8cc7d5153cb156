"""What a user says about an int8 export: the budget, and the pictures that stand for the use."""

from __future__ import annotations

import math

import msgspec

from parity.judging.verdict import Limits
from parity.plan.search import Budget
from runtime.errors import ConfigError

# The largest P99 that the project calls the same answer; crop px.
USUAL_P99_PX = 0.5


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
        """The budget as the verdict takes it."""
        given = (self.max_mean_px, self.max_error_px, self.max_p95_px, self.max_p99_px)
        p99 = USUAL_P99_PX if given == (None,) * len(given) else self.max_p99_px
        return Limits(
            max_mean_px=self.max_mean_px,
            max_error_px=self.max_error_px,
            max_p95_px=self.max_p95_px,
            max_p99_px=p99,
            unit="crop",
        )

    @property
    def budget(self) -> Budget:
        """The budget as a search takes it."""
        named = {field: limit for _, field, limit in self.limits.named()}
        return Budget(limits_px=named, unit="crop")

    def with_budget(self, budget: Budget) -> Int8Table:
        """The same table with another budget, which replaces all of the old one."""
        fields = {"mean": "max_mean_px", "max": "max_error_px"}
        limits = dict.fromkeys(("max_mean_px", "max_error_px", "max_p95_px", "max_p99_px"))
        limits |= {fields.get(n, f"max_{n}_px"): v for n, v in budget.limits_px.items()}
        return msgspec.structs.replace(self, **limits)

    def check(self, where: str) -> Int8Table:
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
        return self
