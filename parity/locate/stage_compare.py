"""Two sources side by side, stage by stage, one picture at a time.

Three readings. *Accumulated*: each side on its own inputs, as it runs. *Isolated*: both sides'
stage on the same inputs, so that what earlier stages did wrong does not count. *Alone*: the
landmarks move by so much when this stage's isolated error is put into the reference and everything
else stays the reference's.

The boundary gate (heat > 0.05, the first act of every later hourglass) is a step: a difference as
small as a rounding turns a pixel of its planes on or off. Accumulated, such a flip makes a large
error in few pixels out of a tiny cause. Isolated, both sides are given the same heat, and it flips
only where a side rounds that itself (fp16).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from parity.locate.report import StageReport
from parity.locate.stage_errors import Moved, NotFinite, Sums
from parity.locate.stage_runs import F32, Shown, StagedSource, TappedSource, image_of
from runtime.errors import InputError
from runtime.model.spec import INPUT_NAME, OUTPUT_NAMES
from runtime.model.stages import Stage, living_stages

LANDMARKS = OUTPUT_NAMES[0]


class StageSums:
    """One stage's readings, so far; all but `accumulated` stay empty where nothing can be run."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.accumulated = Sums()
        self.isolated = Sums()
        self.alone = Moved()


class StageComparison:
    """Collects what two sources say of each picture, in memory that holds one picture's maps.

    Args:
        reference: one side.
        candidate: the other.
        staged: the sides that can be run stage by stage, a subset of these two.

    Raises:
        InputError: another number of stacks.
    """

    def __init__(
        self,
        reference: TappedSource,
        candidate: TappedSource,
        staged: Mapping[str, StagedSource],
    ) -> None:
        self._sides = {"reference": reference, "candidate": candidate}
        self.staged = staged
        if reference.stacks != candidate.stacks:
            raise _unlike(reference, f"{reference.stacks} stacks", f"{candidate.stacks}", candidate)
        self.stages = [StageSums(stage) for stage in living_stages(reference.stacks)]
        self.not_finite: dict[str, NotFinite] = {}
        self.moved = Moved()

    @property
    def fed_by(self) -> str | None:
        """Whose inputs both sides' stages are given; None where no stage can be run alone.

        The reference's, where the candidate can be run on them. A recorded candidate has nothing
        but its own; the reference is then run on those.
        """
        if "candidate" in self.staged:
            return "reference"
        return "candidate" if "reference" in self.staged else None

    def add(self, shown: Shown) -> None:
        """Compare one picture.

        Raises:
            InputError: tensors of another shape.
            InferenceError: an engine failed.
        """
        here, there = self.tensors(shown)
        for sums in self.stages:
            outputs = sums.stage.outputs
            self._look_for_numbers(shown, sums.stage, here, there)
            sums.accumulated.add(shown.name, _joined(here, outputs), _joined(there, outputs))
            if self.fed_by is not None:
                self._add_isolated(shown, sums, here, there)
        self.moved.add(here[LANDMARKS], there[LANDMARKS], shown.size_px)

    def tensors(self, shown: Shown) -> tuple[dict[str, F32], dict[str, F32]]:
        """Both sides' tensors for one picture, the picture itself among them."""
        reference, candidate = self._sides.values()
        here, there = reference.taps(shown), candidate.taps(shown)
        if self.staged:
            image = image_of(shown)
            here[INPUT_NAME] = there[INPUT_NAME] = image
        for sums in self.stages:
            for name in sums.stage.outputs:
                one, other = here[name].shape, there[name].shape
                if one != other:
                    raise _unlike(reference, f"{name} of shape {one}", f"{other}", candidate)
        return here, there

    def readings(self) -> list[StageReport]:
        """Every stage's figures so far, none of them judged."""
        return [
            StageReport(
                name=sums.stage.name,
                accumulated=sums.accumulated.figures(),
                isolated=sums.isolated.figures(),
                alone_px=sums.alone.figures(),
            )
            for sums in self.stages
        ]

    def given(self, own: Sequence[float | None]) -> list[float | None]:
        """The largest of what a stage's inputs are apart, by what all stages' outputs are."""
        apart: dict[str, float | None] = {INPUT_NAME: 0.0}
        found: list[float | None] = []
        for sums, mine in zip(self.stages, own, strict=True):
            inputs = [apart[name] for name in sums.stage.inputs]
            numbers = [value for value in inputs if value is not None]
            found.append(max(numbers) if len(numbers) == len(inputs) else None)
            apart[sums.stage.name] = mine
        return found

    def _add_isolated(
        self, shown: Shown, sums: StageSums, here: dict[str, F32], there: dict[str, F32]
    ) -> None:
        fed = here if self.fed_by == "reference" else there
        stage = sums.stage
        if not all(np.isfinite(fed[name]).all() for name in stage.inputs):
            return  # of what was given no numbers nothing can be said
        if self.fed_by == "reference":
            ours, theirs = here, self.staged["candidate"].run_stage(stage, fed)
        else:
            ours, theirs = self.staged["reference"].run_stage(stage, fed), there
        outputs = stage.outputs
        sums.isolated.add(shown.name, _joined(ours, outputs), _joined(theirs, outputs))
        if "reference" in self.staged:
            with np.errstate(invalid="ignore"):  # inf - inf: nothing is said of the landmarks
                changed = {n: here[n] + (theirs[n] - ours[n]) for n in outputs}
            landmarks = self._landmarks_with(stage, here, changed)
            sums.alone.add(here[LANDMARKS], landmarks, shown.size_px)

    def _landmarks_with(
        self, changed_stage: Stage, here: dict[str, F32], changed: dict[str, F32]
    ) -> F32:
        """The reference's landmarks, had one of its stages given something else."""
        values = {**here, **changed}
        touched = {name for name in changed if not np.array_equal(changed[name], here[name])}
        for sums in self.stages:
            stage = sums.stage
            if stage is not changed_stage and touched.intersection(stage.inputs):
                made = self.staged["reference"].run_stage(stage, values)
                values.update(made)
                touched.update(made)
        return values[LANDMARKS]

    def _look_for_numbers(
        self, shown: Shown, stage: Stage, here: dict[str, F32], there: dict[str, F32]
    ) -> None:
        for side, tensors in zip(self._sides, (here, there), strict=True):
            for name in stage.outputs:
                if side in self.not_finite or np.isfinite(tensors[name]).all():
                    continue
                at = tuple(np.argwhere(~np.isfinite(tensors[name]))[0])
                self.not_finite[side] = NotFinite(
                    side=side,
                    picture=shown.name,
                    stage=stage.name,
                    channel=int(at[1]) if len(at) == 4 else None,  # maps alone have some
                    value=str(tensors[name][at]),
                )


def _joined(tensors: Mapping[str, F32], names: tuple[str, ...]) -> F32:
    return np.concatenate([tensors[name].ravel() for name in names])


def _unlike(
    reference: TappedSource, expected: str, got: str, candidate: TappedSource
) -> InputError:
    return InputError(
        "comparison",
        expected=f"two networks of one architecture: {expected}, as {reference.name} has",
        got=f"{got} in {candidate.name}",
        action="Name two sources that were made of one checkpoint, or of one training",
    )
