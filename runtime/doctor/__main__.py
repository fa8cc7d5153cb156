"""python -m runtime.doctor: what this machine has, what it lacks, and what mends it."""

from __future__ import annotations

import sys

from runtime import command_line
from runtime.doctor import cann, devices, packages, pytorch
from runtime.doctor.findings import Examination, Finding, Route
from runtime.errors import EXIT_OK, EXIT_UNAVAILABLE
from runtime.soc import soc_of

CHECKPOINTS = "checkpoints (.pkl .pth .safetensors)"
GRAPHS = "graphs and bundles (.onnx)"


def main(argv: list[str] | None = None) -> int:
    """Examine this machine.

    Returns:
        0 where an engine can run, if only on the CPU; 3 where none can.
    """
    parser = command_line.parser(
        "runtime.doctor",
        "Say what this machine has for running and converting models, what it lacks, and the\n"
        "command that mends it. Nothing is changed. Exit code 0: an engine can run; 3: none can.",
        "python -m runtime.doctor --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    return command_line.run(lambda: _doctor(as_json=arguments.json))


def _doctor(*, as_json: bool) -> int:
    found = examine()
    print(found.json() if as_json else found.text())
    return EXIT_OK if found.usable else EXIT_UNAVAILABLE


def examine() -> Examination:
    """Look at everything, one thing after the other; nothing here raises for what it finds."""
    base = [packages.needed(module) for module in packages.NEEDED]
    ort, providers = packages.onnxruntime()
    installation = cann.find()
    torch = pytorch.examine(installation)
    driver = devices.driver()
    chips = devices.chips(driver_there=driver.works)
    families = {soc_of(one.soc_version).family for one in chips.devices}
    acl = devices.acl(installation, chips.devices)
    findings = (
        packages.python(),
        *base,
        ort,
        torch.torch,
        torch.torch_npu,
        *cann.examine(installation, families=families),
        driver,
        *chips.findings,
        acl,
    )
    refused = next((f"{one.about}: {one.found}" for one in base if not one.works), "")
    return Examination(
        findings=findings,
        routes=(
            Route(
                engine="onnxruntime", device="cpu", opens=GRAPHS, refused=refused or _refused(ort)
            ),
            Route(
                engine="torch",
                device="cpu",
                opens=CHECKPOINTS,
                refused=refused or torch.cpu_refused,
            ),
            Route(
                engine="om (pyACL)",
                device="npu",
                opens="converted models (.om) and bundles that hold one",
                refused=refused or _refused(acl),
            ),
            Route(
                engine="torch",
                device="npu",
                opens=CHECKPOINTS,
                refused=refused or torch.cpu_refused or _refused(torch.torch_npu),
            ),
            Route(
                engine="onnxruntime",
                device="npu",
                opens=GRAPHS,
                refused=refused or _refused(ort) or _no_provider(providers),
            ),
        ),
    )


def _refused(finding: Finding) -> str:
    return "" if finding.works else f"{finding.about}: {finding.found}"


def _no_provider(providers: tuple[str, ...]) -> str:
    if packages.CANN_PROVIDER in providers:
        return ""
    return f"this onnxruntime has no {packages.CANN_PROVIDER} (pip install onnxruntime-cann has)"


if __name__ == "__main__":
    sys.exit(main())
