"""onnxruntime: one module that several packages install, and whether its CANN provider loads.

The facts about onnxruntime-cann are those of its wheels 1.22.1 and 1.24.4 [V].
"""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata

from runtime.doctor.cann import Cann
from runtime.doctor.findings import Finding
from runtime.doctor.packages import ONNXRUNTIME, judge, numbers
from runtime.doctor.probe import Answer, ask, installed

CANN_BUILD = "onnxruntime-cann"
CANN_PROVIDER = "CANNExecutionProvider"
PROVIDER = "its provider"


def examine(cann: Cann | None) -> tuple[Finding, Finding]:
    """The engine, and what it needs on an NPU."""
    about, pip, lowest = ONNXRUNTIME
    if not installed("onnxruntime"):
        missing = Finding(
            level="warning",
            about=about,
            found="not installed: no .onnx file can run",
            mend=f"pip install '{pip}>={lowest}'",
        )
        return missing, _no_provider()
    answer = ask("onnxruntime")
    shown = f"{answer.version} ({', '.join(answer.facts.get('providers', ()))})"
    builds = _builds()
    engine = _of_cann(judge(about, pip, lowest, answer, shown), builds)
    return _side_by_side(engine, builds), _provider(answer, builds, cann)


def _builds() -> dict[str, str]:
    """The packages that install the module, with their versions."""
    names = metadata.packages_distributions().get("onnxruntime", ())
    return {name: metadata.version(name) for name in sorted(set(names))}


def _of_cann(engine: Finding, builds: dict[str, str]) -> Finding:
    """The other build's own remedies, where it does not import."""
    if engine.level != "problem" or CANN_BUILD not in builds:
        return engine
    if numbers(_numpy()) < (2,):
        reinstall = f"pip install --force-reinstall --no-deps '{CANN_BUILD}=={builds[CANN_BUILD]}'"
        return replace(engine, mend=reinstall)
    # its wheels are built for NumPy 1, and do not declare it
    return replace(
        engine,
        found=f"{CANN_BUILD} {builds[CANN_BUILD]} is built for NumPy 1, and NumPy is {_numpy()}:"
        f" {engine.found}",
        mend="pip install 'numpy<2'",
    )


def _side_by_side(engine: Finding, builds: dict[str, str]) -> Finding:
    if len(builds) < 2:
        return engine
    both = " and ".join(f"{name} {version}" for name, version in builds.items())
    kept = CANN_BUILD if CANN_BUILD in builds else min(builds, key=len)
    return replace(
        engine,
        level="problem" if engine.level == "problem" else "warning",
        found=f"{engine.found}; {both} are installed into one folder, and the one that came last"
        " overwrote the other",
        # removing one of them takes away files of the other
        mend=f"pip uninstall -y {' '.join(builds)} && pip install '{kept}=={builds[kept]}'"
        + (f" && {engine.mend}" if "numpy" in engine.mend else ""),
        works_still=engine.works,
    )


def _provider(answer: Answer, builds: dict[str, str], cann: Cann | None) -> Finding:
    if CANN_PROVIDER not in answer.facts.get("providers", ()):
        return _no_provider()
    refused = str(answer.facts.get("cann_refused", ""))
    if not refused:
        return Finding(level="ok", about=PROVIDER, found=CANN_PROVIDER)
    source = cann.source_command if cann else "install CANN (see below) and source its set_env.sh"
    return Finding(
        level="warning",
        about=PROVIDER,
        found=f"{CANN_PROVIDER} of {CANN_BUILD} {builds.get(CANN_BUILD, '')} does not load:"
        f" {refused}",
        mend=source,
    )


def _no_provider() -> Finding:
    return Finding(
        level="warning",
        about=PROVIDER,
        found=f"this onnxruntime has no {CANN_PROVIDER}; {CANN_BUILD} has, for some CANN",
    )


def _numpy() -> str:
    try:
        return metadata.version("numpy")
    except metadata.PackageNotFoundError:
        return ""
