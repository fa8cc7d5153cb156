"""Two sources side by side, stage by stage, one picture at a time.

Three readings. *Accumulated*: each side on its own inputs, as it runs. *Isolated*: both sides'
stage on the same inputs, so that errors of earlier stages do not count. *Alone*: how far the
landmarks move when this stage's isolated error is put into the reference and everything else stays
the reference's.

The boundary gate (heat > 0.05, at the entry of every later hourglass) is a step: a difference as
small as a rounding turns a pixel of its planes on or off. Accumulated, such a flip makes a large
error in few pixels out of a tiny cause. Isolated, both sides are given the same heat, and it flips
only where a side rounds that itself (fp16).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace as replaced

from parity.locate.figures import F32, Moved, Sums
from parity.locate.inputs import Picture
from parity.locate.report import NotFinite, StageReport
from parity.locate.share import growing, over_share, rounding_between, share
from parity.locate.stages import StagedSource, TappedSource, image_of
from runtime.errors import InputError
from runtime.model.spec import INPUT_NAME, OUTPUT_NAMES
from runtime.model.stages import Stage

LANDMARKS = OUTPUT_NAMES[0]


class StageSums:
    """One stage's readings so far; where nothing can be run, only `accumulated` has any.

    Attributes:
        worst: the picture with the largest isolated error.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.accumulated = Sums()
        self.isolated = Sums()
        self.alone = Moved()
        self.worst: Picture | None = None


class StageComparison:
    """Compares two sources picture by picture, holding one picture's maps at a time.

    Attributes:
        staged: the sides that can be run stage by stage.
        fed_by: the side whose inputs both sides' stages are given: the reference, or a candidate
            that cannot be run on the reference's. None where no stage can be run alone.

    Raises:
        InputError: another network's stages.
    """

    def __init__(self, reference: TappedSource, candidate: TappedSource) -> None:
        self._sides = {"reference": reference, "candidate": candidate}
        self._size_px = reference.size_px
        self.staged = {n: side for n, side in self._sides.items() if isinstance(side, StagedSource)}
        self.fed_by: str | None = None
        if self.staged:
            self.fed_by = "reference" if "candidate" in self.staged else "candidate"
        if reference.stages != candidate.stages:
            here, there = (f"{len(one.stages)} stages" for one in (reference, candidate))
            raise self._unlike(here, there)
        self.stages = {s.name: StageSums(s) for s in reference.stages}
        self.not_finite: dict[str, NotFinite] = {}
        self.moved = Moved()

    def add(self, picture: Picture) -> None:
        """Compare one picture.

        Raises:
            InputError: tensors of another shape.
            InferenceError: an engine failed.
        """
        here, there = self.tensors(picture)
        for sums in self.stages.values():
            outputs = sums.stage.outputs
            self._note_not_finite(picture.name, sums.stage, here, there)
            sums.accumulated.add(picture.name, _joined(here, outputs), _joined(there, outputs))
            if self.fed_by is not None:
                self._add_isolated(picture, sums, here, there)
        self.moved.add(here[LANDMARKS], there[LANDMARKS], self._size_px)

    def tensors(self, picture: Picture) -> tuple[dict[str, F32], dict[str, F32]]:
        """Both sides' tensors for one picture, the network's input included where one is run."""
        here, there = (side.taps(picture.crop) for side in self._sides.values())
        if self.staged:
            here[INPUT_NAME] = there[INPUT_NAME] = image_of(picture.crop)
        for sums in self.stages.values():
            for name in sums.stage.outputs:
                if here[name].shape != there[name].shape:
                    shape = f"{name} of shape {here[name].shape}"
                    raise self._unlike(shape, f"{there[name].shape}")
        return here, there

    def rounding(self) -> float:
        """What the stages may differ by, and still be the same in all but rounding."""
        return rounding_between(self._isolated())

    def share(self) -> float | None:
        """The largest isolated relative L2 that passes; None where there is no such reading."""
        return None if self.fed_by is None else share(self._isolated(), self.rounding())

    def judged(self) -> list[StageReport]:
        """Every stage's figures, and whether it is over its share."""
        reports = [
            StageReport(
                name=name,
                accumulated=sums.accumulated.figures(),
                isolated=sums.isolated.figures(),
                alone_px=sums.alone.figures(),
            )
            for name, sums in self.stages.items()
        ]
        if self.fed_by is None:
            own = [None if r.accumulated is None else r.accumulated.relative_l2 for r in reports]
            over = growing(own, self._error_of_inputs(own))
            return [replaced(one, over_share=it) for one, it in zip(reports, over, strict=True)]
        # a stage whose inputs were never finite has no isolated reading, and no share
        over_it = iter(over_share(self._isolated(), self.rounding()))
        return [
            replaced(one, over_share=one.isolated is not None and next(over_it)) for one in reports
        ]

    def _isolated(self) -> list[float | None]:
        """Isolated relative L2 of every stage that has such a reading."""
        found = (sums.isolated.figures() for sums in self.stages.values())
        return [figures.relative_l2 for figures in found if figures is not None]

    def _error_of_inputs(self, own: list[float | None]) -> list[float | None]:
        """The largest error among each stage's inputs, from that of all stages' outputs."""
        errors: dict[str, float | None] = {
            INPUT_NAME: 0.0,
            **dict(zip(self.stages, own, strict=True)),
        }
        found: list[float | None] = []
        for sums in self.stages.values():
            numbers = [errors[name] for name in sums.stage.inputs]
            finite = [number for number in numbers if number is not None]
            found.append(max(finite) if len(finite) == len(numbers) else None)
        return found

    def _add_isolated(
        self, picture: Picture, sums: StageSums, here: dict[str, F32], there: dict[str, F32]
    ) -> None:
        fed = here if self.fed_by == "reference" else there
        stage, outputs = sums.stage, sums.stage.outputs
        if not all(np.isfinite(fed[name]).all() for name in stage.inputs):
            return  # not this stage's fault
        ours, theirs = here, there
        if self.fed_by == "reference":
            theirs = self.staged["candidate"].run_stage(stage, fed)
        else:
            ours = self.staged["reference"].run_stage(stage, fed)
        sums.isolated.add(picture.name, _joined(ours, outputs), _joined(theirs, outputs))
        if sums.isolated.worst_picture == picture.name:
            sums.worst = picture
        if "reference" in self.staged:
            with np.errstate(invalid="ignore"):  # inf - inf: the landmarks are then not finite
                changed = {n: here[n] + (theirs[n] - ours[n]) for n in outputs}
            landmarks = self._landmarks_with(stage, here, changed)
            sums.alone.add(here[LANDMARKS], landmarks, self._size_px)

    def _landmarks_with(
        self, changed_stage: Stage, here: dict[str, F32], changed: dict[str, F32]
    ) -> F32:
        """The reference's landmarks, if one of its stages had made other outputs."""
        values = {**here, **changed}
        touched = {name for name in changed if not np.array_equal(changed[name], here[name])}
        for sums in self.stages.values():
            stage = sums.stage
            if stage is not changed_stage and touched.intersection(stage.inputs):
                made = self.staged["reference"].run_stage(stage, values)
                values.update(made)
                touched.update(made)
        return values[LANDMARKS]

    def _note_not_finite(
        self, picture: str, stage: Stage, here: dict[str, F32], there: dict[str, F32]
    ) -> None:
        """Keep the first value of each side that is not finite."""
        for side, tensors in zip(self._sides, (here, there), strict=True):
            for name in stage.outputs:
                if side in self.not_finite or np.isfinite(tensors[name]).all():
                    continue
                at = tuple(np.argwhere(~np.isfinite(tensors[name]))[0])
                self.not_finite[side] = NotFinite(
                    side=side,
                    picture=picture,
                    stage=stage.name,
                    channel=int(at[1]) if len(at) == 4 else None,  # maps alone have channels
                    value=str(tensors[name][at]),
                )

    def _unlike(self, expected: str, got: str) -> InputError:
        reference, candidate = self._sides.values()
        return InputError(
            "comparison",
            expected=f"two networks of one architecture: {expected}, as {reference.name} has",
            got=f"{got} in {candidate.name}",
            action="Name two sources that were made of one checkpoint, or of one training",
        )


def _joined(tensors: Mapping[str, F32], names: tuple[str, ...]) -> F32:
    return np.concatenate([tensors[name].ravel() for name in names])
