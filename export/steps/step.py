"""A step of an export: its key, what it makes, what it carries over from the bundle in place."""

from __future__ import annotations

import hashlib
import logging
import platform
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from export.graph.reference import Reference
from export.job import Job
from parity.report import Report
from runtime.files import sha256_json
from runtime.files.shipped import ROOT
from runtime.machine.packages import module_version
from runtime.model.manifest import FileFact, Manifest
from runtime.model.spec import InputSpec
from runtime.version import VERSION

# Every version that can change a byte of the graph, or a figure of its judgement.
GRAPH_PACKAGES = ("torch", "onnx", "onnxsim", "onnxscript")
JUDGE_PACKAGES = ("torch", "onnxruntime", "numpy", "opencv-python")
# Those that the bundle's page is drawn and set with.
PAGE_PACKAGES = ("jinja2", "matplotlib")
# What they are imported as, where it is not that name.
MODULES = {"opencv-python": "cv2", "scikit-learn": "sklearn"}
CODE_ROOMS = ("runtime", "parity", "export")
# of our code, and of the page's templates, style and words
CODE_SUFFIXES = (".py", ".j2", ".css", ".js", ".json")

logger = logging.getLogger("starmark")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What steps depend on.

    Attributes:
        onnx_sha256: of model.onnx; empty before the first step, which makes it.
        input: of model.onnx, likewise.
    """

    job: Job
    onnx_sha256: str = ""
    input: InputSpec = field(default_factory=InputSpec)


@dataclass(kw_only=True)
class Work:
    """A bundle while it is made.

    Attributes:
        old: the bundle in place, if it is whole.
        staging: the folder that becomes the new one.
        reference: the checkpoint in torch.
        fields: of the manifest, so far.
        files: facts of files in the staging folder that are known already.
        keys: of the steps so far, for the manifest.
        report: of the judgement, where it was made just now.
    """

    inputs: Inputs
    old: Manifest | None
    staging: Path
    reference: Reference
    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, FileFact] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    report: Report | None = None

    @property
    def job(self) -> Job:
        """The export that this is."""
        return self.inputs.job


class Step(ABC):
    """One step of an export: files in the bundle, and fields of its manifest.

    Attributes:
        name: in the log, and of its key in the manifest.
        makes_files: which files of a bundle are its result.
        makes_fields: which fields of the manifest are.
    """

    name: ClassVar[str]
    makes_files: ClassVar[tuple[str, ...]] = ()
    makes_fields: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def key(self, inputs: Inputs) -> str:
        """Hash everything that the result depends on."""

    @abstractmethod
    def make(self, work: Work) -> None:
        """Write the files into the staging folder, and set the fields."""

    def is_fresh(self, inputs: Inputs, old: Manifest) -> bool:
        """Whether a bundle already has the result."""
        return old.steps.get(self.name) == self.key(inputs)

    def carries_over(self, work: Work) -> bool:
        """Whether the result is taken from the bundle in place."""
        return work.old is not None and self.is_fresh(work.inputs, work.old)

    def carry_over(self, work: Work, old: Manifest) -> None:
        """Copy the files, which were checked against the manifest, and the fields."""
        logger.info("up to date: %s", self.name)
        copy_files(work, old, self.makes_files)
        work.fields |= {name: getattr(old, name) for name in self.makes_fields}

    def run(self, work: Work) -> None:
        """Carry the result over, or make it."""
        work.keys[self.name] = self.key(work.inputs)
        if work.old is not None and self.carries_over(work):
            self.carry_over(work, work.old)
        else:
            self.make(work)


def copy_files(work: Work, old: Manifest, names: Sequence[str]) -> None:
    """Copy files of the bundle in place that it has."""
    for name in names:
        if name in old.files:
            shutil.copyfile(work.job.output / name, work.staging / name)
            work.files[name] = old.files[name]


def key_of(*parts: object) -> str:
    """Hash anything that msgspec writes as JSON, whatever the order of its keys."""
    return sha256_json(parts)


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Versions of what is imported, by the names that packages usually have."""
    found = {"starmark": VERSION, "python": platform.python_version()}
    return found | {name: module_version(MODULES.get(name, name), name) for name in packages}


@cache
def own_code() -> str:
    """Hash of this project's code: a changed exporter makes everything again."""
    return code_digest(ROOT)


def code_digest(root: Path) -> str:
    """Hash the code of a checkout, and what its page is made of."""
    digest = hashlib.sha256()
    for room in CODE_ROOMS:
        files = (p for p in (root / room).rglob("*") if p.suffix in CODE_SUFFIXES)
        for path in sorted(files):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
