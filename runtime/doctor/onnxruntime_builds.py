"""onnxruntime: one module that several packages install, and whether its CANN provider loads."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata

from runtime.doctor.cann import Cann
from runtime.doctor.findings import Finding
from runtime.doctor.packages import ONNXRUNTIME, judge
from runtime.doctor.probe import Answer, ask, installed
from runtime.machine.npu_packages import (
    CANN_PROVIDER,
    ORT_CANN,
    PROVIDER_LIBRARY,
    beside_numpy_2,
    missing_in,
)

ABOUT_PROVIDER = "its provider"


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
    answer = ask("onnxruntime", PROVIDER_LIBRARY)
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
    if engine.level != "problem" or ORT_CANN not in builds:
        return engine
    beside = beside_numpy_2()
    if beside is None:
        reinstall = f"pip install --force-reinstall --no-deps '{ORT_CANN}=={builds[ORT_CANN]}'"
        return replace(engine, mend=reinstall)
    return replace(
        engine,
        found=f"{ORT_CANN} {beside.version} is built for NumPy 1, and NumPy is {beside.numpy}:"
        f" {engine.found}",
        mend=beside.mend,
    )


def _side_by_side(engine: Finding, builds: dict[str, str]) -> Finding:
    if len(builds) < 2:
        return engine
    both = " and ".join(f"{name} {version}" for name, version in builds.items())
    kept = ORT_CANN if ORT_CANN in builds else min(builds, key=len)
    # removing one of them takes away files of the other
    mend = f"pip uninstall -y {' '.join(builds)} && pip install '{kept}=={builds[kept]}'"
    if "numpy" in engine.mend.lower():
        mend = f"{mend} && {engine.mend}" if engine.mend.startswith("pip") else engine.mend
    return replace(
        engine,
        level="problem" if engine.level == "problem" else "warning",
        found=f"{engine.found}; {both} are installed into one folder, and the one that came last"
        " overwrote the other",
        mend=mend,
        works_still=engine.works,
    )


def _provider(answer: Answer, builds: dict[str, str], cann: Cann | None) -> Finding:
    if CANN_PROVIDER not in answer.facts.get("providers", ()):
        return _no_provider()
    refused = missing_in(str(answer.facts["loader_error"]))
    if not refused:
        return Finding(level="ok", about=ABOUT_PROVIDER, found=CANN_PROVIDER)
    source = cann.source_command if cann else "install CANN (see below) and source its set_env.sh"
    return Finding(
        level="warning",
        about=ABOUT_PROVIDER,
        found=f"{CANN_PROVIDER} of {ORT_CANN} {builds.get(ORT_CANN, '')} does not load: {refused}",
        mend=source,
    )


def _no_provider() -> Finding:
    return Finding(
        level="warning",
        about=ABOUT_PROVIDER,
        found=f"this onnxruntime has no {CANN_PROVIDER}; {ORT_CANN} has, for some CANN",
    )
