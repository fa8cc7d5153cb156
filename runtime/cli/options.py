"""Groups of options that several command lines share.

A group is a class: `add` declares its options on a parser, `of` builds its record from the parsed
arguments and checks it, so that commands pass records and never a Namespace.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime.backends.base import Settings
from runtime.cli import command_line
from runtime.detector import LARGEST_BATCH
from runtime.errors import ConfigError
from runtime.faces import DlibFaces, YuNetFaces
from runtime.faces.choice import AUTO, DLIB, HOW_TO_GET, NONE, chosen
from runtime.faces.scaled import LONGEST_SIDE_PX
from runtime.faces.yunet import LEAST_SCORE, WHERE_FROM, ZOO_SHA256
from runtime.files import sha256_file, shown
from runtime.image.picture import MAX_PIXELS
from runtime.machine.packages import module_version
from runtime.model.source import parse_source
from runtime.refine import MOST_PASSES
from runtime.stream.stream import MOST_READERS

DEFAULT_MODEL = "build/starter68"

logger = logging.getLogger("starmark")


class EngineOptions:
    """The engines' `Settings`; they hold for every source that is run."""

    @staticmethod
    def add(parser: argparse.ArgumentParser) -> None:
        """Declare --allow-hf32, --threads, --precision, --weights-key and --input-size."""
        parser.add_argument(
            "--allow-hf32",
            action="store_true",
            help="let checkpoints on an NPU compute convolutions in HF32 (11 mantissa bits), or in"
            " fp16 on chips without fp32: faster, but not for parity. Other engines have no such"
            " switch",
        )
        parser.add_argument(
            "--threads",
            type=int,
            metavar="N",
            help="processor threads (default: the engine's own, one a core); the pictures of a"
            " folder run side by side, one on each",
        )
        parser.add_argument(
            "--precision",
            choices=("fp32", "bf16"),
            help="what OpenVINO computes in (default fp32); other engines refuse it. For one source"
            " of several, write PATH@openvino/cpu:bf16",
        )
        add_weights_options(parser.add_argument)

    @staticmethod
    def of(arguments: argparse.Namespace) -> Settings:
        """Build the settings.

        Raises:
            ConfigError: --threads out of range.
        """
        return Settings(
            allow_hf32=arguments.allow_hf32,
            threads=arguments.threads,
            precision=arguments.precision,
            weights_key=arguments.weights_key,
            input_size=arguments.input_size,
        )


@dataclass(frozen=True, kw_only=True)
class FaceOptions:
    """How faces are found, cut and batched in every picture.

    Attributes:
        found_by: YuNet's ONNX file, or "dlib"; None takes each picture as one face.
        boxes: a file of boxes instead, see `runtime.many.boxes`.
        least_score, longest_side_px: as for `YuNetFaces`.
        refine: as for `Detector`.
        readers, batch: as for `Stream`.
        max_pixels: as for `read_picture`.
    """

    found_by: Path | str | None = None
    boxes: Path | None = None
    least_score: float = LEAST_SCORE
    longest_side_px: int = LONGEST_SIDE_PX
    refine: int = 0
    readers: int = 2
    batch: int | None = None
    max_pixels: int = MAX_PIXELS

    @staticmethod
    def add(parser: argparse.ArgumentParser) -> None:
        """Declare the options: --faces, and all that is about the pictures of a run."""
        add = parser.add_argument
        add(
            "--faces",
            type=command_line.named,
            metavar="FINDER",
            help="finds every face of a picture: YuNet's ONNX file; dlib, the package; auto, which"
            " of them is there (YuNet's file beside the model, in the current folder or in"
            f" ~/.cache/starmark); none, the picture as one face. Get {WHERE_FROM}, sha256"
            f" {ZOO_SHA256}",
        )
        help_of = "CSV, TSV, JSON, COCO or results of a run, with the faces of each picture"
        add("--boxes", type=command_line.named, metavar="FILE", help=help_of)
        add(
            "--least-score",
            type=float,
            default=LEAST_SCORE,
            metavar="S",
            help=f"with YuNet, boxes below it are no faces (default {LEAST_SCORE})",
        )
        add(
            "--faces-side",
            type=int,
            default=LONGEST_SIDE_PX,
            metavar="PX",
            help="with --faces, larger pictures are shrunk to this side for the search (default"
            f" {LONGEST_SIDE_PX}); half of it takes a quarter of the time and misses small faces",
        )
        add(
            "--refine",
            type=int,
            default=0,
            metavar="N",
            help=f"cut again by the points found, 0 to {MOST_PASSES} times (default 0)",
        )
        add("--readers", type=int, default=2, metavar="N", help="threads that decode (default 2)")
        add("--batch", type=int, metavar="N", help="faces in one call of the device at most")
        add_max_pixels(parser)

    @classmethod
    def of(cls, arguments: argparse.Namespace, default: str = NONE) -> FaceOptions:
        """Build the record.

        Args:
            arguments: with the model's name, beside which YuNet's file may lie.
            default: what --faces is where it was left out; AUTO takes what is there, and says so.

        Raises:
            ConfigError: --refine, --readers, --batch or --max-pixels out of range, both --faces
                and --boxes, or --faces auto finds nothing.
        """
        check_range("--refine", arguments.refine, 0, MOST_PASSES)
        check_range("--readers", arguments.readers, 1, MOST_READERS)
        check_range("--batch", arguments.batch, 1, LARGEST_BATCH)
        check_range("--max-pixels", arguments.max_pixels, 1)
        if arguments.faces not in (None, NONE) and arguments.boxes is not None:
            action = "A face is cut in one way: leave one of them out"
            raise ConfigError(
                "--boxes", expected="either --faces or --boxes", got="both", action=action
            )
        asked = arguments.faces or default
        model = parse_source(arguments.model).path
        found_by = chosen(asked, model, required=arguments.faces == AUTO)
        if asked == AUTO and found_by is not None:
            name = "dlib" if found_by == DLIB else shown(found_by)
            logger.info("faces: %s finds them (--faces none: the picture as one face)", name)
        return cls(
            found_by=found_by,
            boxes=None if arguments.boxes is None else Path(arguments.boxes),
            least_score=arguments.least_score,
            longest_side_px=arguments.faces_side,
            refine=arguments.refine,
            readers=arguments.readers,
            batch=arguments.batch,
            max_pixels=arguments.max_pixels,
        )

    @property
    def side_by_side(self) -> bool:
        """Whether pictures are best run side by side on a CPU: not those that share a call."""
        return self.batch in (None, 1)

    def finder(self) -> YuNetFaces | DlibFaces | None:
        """Open the finder.

        Raises:
            ArtifactError, BackendUnavailable, ConfigError: as `YuNetFaces` and `DlibFaces`.
        """
        if self.found_by is None:
            return None
        if self.found_by == DLIB:
            return DlibFaces(longest_side_px=self.longest_side_px)
        return YuNetFaces(
            self.found_by, least_score=self.least_score, longest_side_px=self.longest_side_px
        )

    def hint(self, unsure: int) -> None:
        """Say what helps where pictures were taken as one face, and points are unsure."""
        if unsure and self.found_by is None and self.boxes is None:
            logger.warning(
                "hint: a picture was taken as one face; --faces FINDER finds every face. %s",
                HOW_TO_GET,
            )

    def heading(self) -> dict[str, str]:
        """What rows depend on, for a run's `Heading`."""
        faces = "none"
        if self.found_by == DLIB:
            faces = f"{DLIB} {module_version(DLIB)} at {self.longest_side_px} px"
        elif self.found_by is not None:
            digest = sha256_file(Path(self.found_by))[:12]
            faces = f"{digest} from {self.least_score:g} at {self.longest_side_px} px"
        if self.boxes is not None:
            faces = f"boxes {sha256_file(self.boxes)[:12]}"
        return {"refine": str(self.refine), "faces": faces, "max_pixels": str(self.max_pixels)}


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """Declare --max-pixels."""
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help=f"refuse larger pictures, by their headers (default {MAX_PIXELS:,})",
    )


def add_weights_options(add: Callable[..., object], *, size: str = "input_size") -> None:
    """Declare --weights-key and --input-size, what the tensors of a checkpoint do not tell."""
    add(
        "--weights-key",
        default="",
        metavar="KEY",
        help="of a checkpoint with several sets of weights, the one to take, for example net_ema"
        " (default: the first that is no average)",
    )
    add(
        "--input-size",
        dest=size,
        type=int,
        metavar="PX",
        help="the side a checkpoint was trained at (default: what the file says, or 256)",
    )


def check_range(option: str, value: int | None, least: int, most: int | None = None) -> None:
    """Refuse a number out of its range; None is an option that was left out.

    Raises:
        ConfigError: it is.
    """
    if value is not None and (value < least or (most is not None and value > most)):
        expected = f"{least} or more" if most is None else f"{least} to {most}"
        raise ConfigError(option, expected=expected, got=str(value), action="Correct it")
