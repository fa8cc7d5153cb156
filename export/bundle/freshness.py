"""What a step's result depends on, hashed: where the hash is the same, the step is skipped."""

from __future__ import annotations

import hashlib
import logging
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import msgspec

from export.atc.plan import NO_OM, OmPlan
from export.atc.to_om import atc_arguments, conversions, setting_files
from export.config import config_facts
from export.job import Job
from parity.samples import sample_facts
from runtime.errors import ArtifactError
from runtime.model.manifest import MANIFEST_NAME, ONNX_NAME, Manifest, check_files, read_manifest
from runtime.model.spec import InputSpec
from runtime.version import VERSION

# Every version that can change a byte of the graph, or a figure of its judgement.
GRAPH_PACKAGES = ("torch", "onnx", "onnxsim", "onnxscript")
INT8_PACKAGES = ("nncf", "scipy", "scikit-learn")
JUDGE_PACKAGES = ("torch", "onnxruntime", "numpy", "opencv-python")
# Those that the bundle's page is drawn and set with.
PAGE_PACKAGES = ("jinja2", "matplotlib")
CODE_ROOMS = ("runtime", "parity", "export")
# of our code, and of the page's templates, style and words
CODE_SUFFIXES = (".py", ".j2", ".css", ".js", ".json")
STEPS = ("onnx", "verify", "preflight", "parity", "selftest", "om")

logger = logging.getLogger("starmark")


def up_to_date(job: Job, old: Manifest | None) -> dict[str, bool]:
    """For each step, whether the bundle in place already has its result."""
    if old is None:
        return dict.fromkeys(STEPS, False)
    onnx_sha256 = old.files[ONNX_NAME].sha256
    wanted = {"onnx": graph_key(job), **judge_keys(job, onnx_sha256)}
    fresh = {name: old.steps.get(name) == key for name, key in wanted.items()}
    key = om_key(job, onnx_sha256, old.spec.input)
    # without atc, a bundle without .om is all there can be
    none_can_be = job.om.atc is None and not old.om
    return fresh | {"om": none_can_be or carried_over(job.om, old, onnx_sha256, key)}


def old_manifest(job: Job) -> Manifest | None:
    """The bundle in place, if it is whole."""
    if not (job.output / MANIFEST_NAME).exists():
        return None
    try:
        manifest = read_manifest(job.output)
        check_files(job.output, manifest)
    except ArtifactError as error:
        logger.info("made again, because %s", error)
        return None
    return manifest


def graph_key(job: Job) -> str:
    """What model.onnx depends on."""
    quantised: list[object] = []
    if job.int8 is not None:
        # pictures and whatever runs candidates on them decide what stays in fp32; the verification
        # of the float graph belongs to this step, too
        quantised = [
            config_facts(job.config)["int8"],
            sample_facts((*job.samples, *job.int8.calibration)),
            sample_facts(job.int8.validation),
            versions_of((*INT8_PACKAGES, *JUDGE_PACKAGES)),
        ]
    return _key_of(
        quantised,
        job.weights_sha256,
        msgspec.to_builtins((job.config.onnx, job.config.model)),
        job.taps,
        versions_of(GRAPH_PACKAGES),
        _code_digest(),
    )


def judge_keys(job: Job, onnx_sha256: str) -> dict[str, str]:
    """What the verification and the verdict on a model.onnx depend on."""
    common = (
        job.weights_sha256,
        onnx_sha256,
        sample_facts(job.samples),
        versions_of(JUDGE_PACKAGES),
        _code_digest(),
    )
    judged = sample_facts(job.int8.validation) if job.int8 else []
    # the whole configuration, because the manifest repeats it
    asked = (config_facts(job.config), job.parity, judged)
    return {
        "verify": _key_of(*common),
        "preflight": _key_of(*common, job.om.facts()),
        "parity": _key_of(*common, *asked, versions_of(PAGE_PACKAGES)),
        "selftest": _key_of(*common, msgspec.to_builtins(job.config.parity)),
    }


def om_key(job: Job, onnx_sha256: str, spec: InputSpec) -> str:
    """What the .om files depend on, but for the converter itself."""
    plan = job.om
    if plan.soc is None:
        return NO_OM
    asked = [
        (atc_arguments(one), setting_files(one)) for one in conversions(plan.table, plan.soc, spec)
    ]
    # what AIPP's rounding moves is measured on the samples
    measured = [sample_facts(job.samples), versions_of(JUDGE_PACKAGES)] if plan.table.aipp else []
    return _key_of(onnx_sha256, asked, measured)


def carried_over(plan: OmPlan, old: Manifest | None, onnx_sha256: str, key: str) -> bool:
    """Whether the .om files of the bundle in place are those of the new one.

    Without atc here, files made elsewhere from the same graph and options are kept; so are all of
    the same graph where nobody names a chip.
    """
    if old is None or not old.om or old.files[ONNX_NAME].sha256 != onnx_sha256:
        return False
    if plan.keeps:
        return True
    same = old.steps.get("om") == key
    return same and (plan.atc is None or old.steps.get("atc") == plan.tool_key())


def _key_of(*parts: object) -> str:
    """Hash anything that msgspec writes as JSON, whatever the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Read from the installed packages' metadata: asking torch itself would mean importing it."""
    found = {"starmark": VERSION, "python": platform.python_version()}
    return found | {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _code_digest() -> str:
    """Hash of this project's own code, so that a changed exporter is never taken for up to date."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for room in CODE_ROOMS:
        files = (p for p in (root / room).rglob("*") if p.suffix in CODE_SUFFIXES)
        for path in sorted(files):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
