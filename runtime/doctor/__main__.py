"""python -m runtime.doctor: what this machine has, what it lacks, and what mends it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from runtime import command_line
from runtime.doctor import cann, devices, packages, pytorch
from runtime.doctor.findings import Examination, Finding, Route
from runtime.errors import EXIT_OK, EXIT_UNAVAILABLE
from runtime.soc import soc_of

CHECKPOINTS = "checkpoints (.pkl .pth .safetensors)"
GRAPHS = "graphs and bundles (.onnx)"
MODELS = "converted models (.om) and bundles that hold one"


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
    command_line.log_to_stderr()
    found = examine()
    print(found.json() if as_json else found.text())
    return EXIT_OK if found.usable else EXIT_UNAVAILABLE


def examine() -> Examination:
    """Look at everything, one thing after the other; nothing here raises for what it finds."""
    base = [packages.needed(module) for module in packages.NEEDED]
    ort, providers = packages.onnxruntime()
    installation = cann.find()
    openvino = packages.openvino()
    torch, torch_npu = pytorch.examine(installation)
    driver = devices.driver()
    chips = devices.chips(driver_there=driver.works)
    families = {soc_of(one.soc_version).family for one in chips.devices}
    acl = devices.acl(installation, chips.devices)
    on_cann = cann.examine(installation, families=families)
    findings = (
        packages.python(),
        *base,
        *(ort, openvino, torch, torch_npu, packages.safetensors()),
        *on_cann,
        *(driver, *chips.findings, acl),
    )
    return Examination(
        findings=findings,
        devices=chips.devices,
        routes=(
            _route("onnxruntime", "cpu", GRAPHS, [*base, ort]),
            _route("openvino", "cpu", GRAPHS, [*base, openvino]),
            _route("torch", "cpu", CHECKPOINTS, [*base, torch]),
            _route("om (pyACL)", "npu", MODELS, [*base, acl]),
            _route("torch", "npu", CHECKPOINTS, [*base, torch, torch_npu]),
            _route("onnxruntime", "npu", GRAPHS, [*base, ort, packages.provider(providers)]),
        ),
    )


def _route(engine: str, device: str, opens: str, needs: Sequence[Finding]) -> Route:
    """Refused for the first of its needs that does not work."""
    lacking = (f"{one.about}: {one.found}" for one in needs if not one.works)
    return Route(engine=engine, device=device, opens=opens, refused=next(lacking, ""))


if __name__ == "__main__":
    sys.exit(main())
