"""Python and the packages that every engine needs, and the engines for graphs."""

from __future__ import annotations

import platform
import sys
from dataclasses import replace
from importlib import metadata

from runtime.doctor.cann import Cann
from runtime.doctor.findings import Finding, ok, problem, warning
from runtime.doctor.probe import Answer, ask, installed
from runtime.machine import processor
from runtime.machine.npu_packages import (
    CANN_PROVIDER,
    ORT_CANN,
    PROVIDER_LIBRARY,
    beside_numpy_2,
    missing_in,
    release_of,
)

# module -> (what people call it, what pip calls it, the lowest version that works)
NEEDED = {
    "numpy": ("numpy", "numpy", "1.26"),
    "cv2": ("OpenCV", "opencv-python", "4.8"),
    "msgspec": ("msgspec", "msgspec", "0.18.6"),
}
OPTIONAL = {
    "simplejpeg": ("simplejpeg", "simplejpeg", "1.8"),
    "onnxruntime": ("onnxruntime", "onnxruntime", "1.17"),
    "openvino": ("OpenVINO", "openvino", "2024.4"),
}
ABOUT_PROVIDER = "its provider"


def python() -> Finding:
    """Which Python this is."""
    return ok("Python", f"{platform.python_version()} {platform.machine()} {sys.executable}")


def needed(module: str) -> Finding:
    """A package without which no engine runs."""
    about, pip, lowest = NEEDED[module]
    if not installed(module):
        return problem(about, "not installed", f"pip install '{pip}>={lowest}'")
    return _judge(module, ask(module))


def simplejpeg() -> Finding:
    """The JPEG decoder that tells damage; OpenCV decodes without it."""
    if not installed("simplejpeg"):
        return _absent("simplejpeg", ": most damage in JPEG files is not noticed")
    finding = _judge("simplejpeg", ask("simplejpeg"))
    # pictures are read without it
    return replace(finding, level="warning") if finding.level == "problem" else finding


def openvino() -> Finding:
    """The other engine for graphs, its devices, and whether bf16 pays on this processor."""
    if not installed("openvino"):
        return _absent("openvino", "; onnxruntime runs the same graphs")
    answer = ask("openvino")
    version = answer.version.partition("-")[0]  # it reports a commit behind it
    answer = replace(answer, facts={**answer.facts, "version": version})
    has_bf16 = bool(answer.facts.get("bf16")) and processor.has_bf16() is not False
    devices = ", ".join(answer.facts.get("devices", ()))
    bf16 = "available" if has_bf16 else "not on this processor"
    finding = _judge("openvino", answer, f"{version} ({devices}; bf16 {bf16})")
    # a broken one stops nobody: onnxruntime opens what it opens
    return replace(finding, level="warning") if finding.level == "problem" else finding


def onnxruntime(cann: Cann | None) -> tuple[Finding, Finding]:
    """The engine, which several packages install as one module, and its provider for the NPU."""
    if not installed("onnxruntime"):
        return _absent("onnxruntime", ": no .onnx file can run"), _no_provider()
    answer = ask("onnxruntime", PROVIDER_LIBRARY)
    shown = f"{answer.version} ({', '.join(answer.facts.get('providers', ()))})"
    names = sorted(set(metadata.packages_distributions().get("onnxruntime", ())))
    builds = {name: metadata.version(name) for name in names}
    engine = _judge("onnxruntime", answer, shown)
    if engine.level == "problem" and ORT_CANN in builds:
        engine = _broken_cann_build(engine, builds[ORT_CANN])
    if len(builds) > 1:
        engine = _side_by_side(engine, builds)
    return engine, _provider(answer, builds.get(ORT_CANN, ""), cann)


def _broken_cann_build(engine: Finding, version: str) -> Finding:
    """The other build's own remedies: installing onnxruntime anew would overwrite it."""
    beside = beside_numpy_2()
    if beside is None:
        reinstall = f"pip install --force-reinstall --no-deps '{ORT_CANN}=={version}'"
        return replace(engine, mend=reinstall)
    found = f"{ORT_CANN} {beside.version} is built for NumPy 1, and NumPy is {beside.numpy}"
    return replace(engine, found=f"{found}: {engine.found}", mend=beside.mend)


def _side_by_side(engine: Finding, builds: dict[str, str]) -> Finding:
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


def _provider(answer: Answer, version: str, cann: Cann | None) -> Finding:
    if CANN_PROVIDER not in answer.facts.get("providers", ()):
        return _no_provider()
    refused = missing_in(str(answer.facts["loader_error"]))
    if not refused:
        return ok(ABOUT_PROVIDER, CANN_PROVIDER)
    return warning(
        ABOUT_PROVIDER,
        f"{CANN_PROVIDER} of {ORT_CANN} {version} does not load: {refused}",
        cann.source_command if cann else "install CANN (see below) and source its set_env.sh",
    )


def _no_provider() -> Finding:
    absent = f"this onnxruntime has no {CANN_PROVIDER}; {ORT_CANN} has, for some CANN"
    return warning(ABOUT_PROVIDER, absent)


def _absent(module: str, lost: str) -> Finding:
    about, pip, lowest = OPTIONAL[module]
    return warning(about, f"not installed{lost}", f"pip install '{pip}>={lowest}'")


def _judge(module: str, answer: Answer, shown: str = "") -> Finding:
    """Judge the outcome of an import: broken, too old, or sound."""
    about, pip, lowest = (NEEDED | OPTIONAL)[module]
    if answer.errors:
        mend = f"pip install --force-reinstall '{pip}>={lowest}'"
        if "libGL" in answer.cause or "libgthread" in answer.cause:
            # a server without a desktop
            mend = "pip uninstall -y opencv-python; pip install opencv-python-headless"
        return problem(about, f"cannot be imported: {answer.cause}", mend)
    return too_old(about, answer.version, pip, lowest) or ok(about, shown or answer.version)


def too_old(about: str, version: str, pip: str, lowest: str) -> Finding | None:
    """A problem where a version is below the lowest that works."""
    if release_of(version) >= release_of(lowest):
        return None
    found = f"{version}, and {lowest} or newer is needed"
    return problem(about, found, f"pip install '{pip}>={lowest}'")
