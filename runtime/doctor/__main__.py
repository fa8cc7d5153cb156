"""python -m runtime.doctor: what this machine has, what it lacks, and what fixes it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.cli import command_line
from runtime.doctor import cann, collect, devices, installation, packages, pytorch
from runtime.doctor.findings import Examination, Finding, Route
from runtime.errors import EXIT_OK, EXIT_UNAVAILABLE

CHECKPOINTS = "checkpoints"
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
        "python -m runtime.doctor --json\n"
        "  python -m runtime.doctor --collect box.tar.gz build/star68 --selftest",
    )
    add = parser.add_argument
    add("--json", action="store_true", help="print JSON")
    add(
        "--collect",
        type=Path,
        metavar="BOX.tar.gz",
        help="write what we need to mend a fault into a new archive: this report, the answers of"
        " npu-smi, versions, packages, settings of CANN, the newest logs, and of each SOURCE how"
        " it was made. No pictures, no weights; host, user, home folder, addresses, serial"
        " numbers, passwords and names of pictures are replaced. The contents are listed before"
        " they are written",
    )
    add(
        "sources",
        nargs="*",
        type=Path,
        metavar="SOURCE",
        help="with --collect: bundle's folder, .om, recording (.npz), .json, .txt or .log",
    )
    add("--selftest", action="store_true", help="with --collect: run each bundle's self-test")
    arguments = parser.parse_args(argv)
    if arguments.collect is None and (arguments.sources or arguments.selftest):
        parser.error("SOURCE and --selftest belong to --collect BOX.tar.gz")
    if arguments.selftest and not arguments.sources:
        parser.error("--selftest runs a bundle's own: name its folder behind it")
    return command_line.run(lambda: _doctor(arguments))


def _doctor(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    if arguments.collect is not None:
        collect.check_archive(arguments.collect)
    found = examine()
    code = EXIT_OK if found.usable else EXIT_UNAVAILABLE
    if arguments.collect is None:
        text = command_line.as_called(found.text())
        print(json.dumps(found.record(), indent=2) if arguments.json else text)
        return code
    collected = collect.gather(
        found, arguments.sources, exit_code=code, selftest=arguments.selftest
    )
    # before it is written: whoever reads it can still stop it
    text = collected.text() + "\n\n" + "\n".join(found.summary())
    print(json.dumps(collected.contents, indent=2) if arguments.json else text, flush=True)
    collect.write(arguments.collect, collected)
    return code


def examine() -> Examination:
    """Look at everything, one thing after the other; nothing here raises for what it finds."""
    base = [packages.needed(module) for module in packages.NEEDED]
    cann_here = cann.find()
    ort, provider = packages.onnxruntime(cann_here)
    openvino = packages.openvino()
    torch, torch_npu = pytorch.examine(cann_here)
    driver = devices.driver()
    chips, on_chips = devices.chips(driver_there=driver.works)
    acl = devices.acl(cann_here, chips)
    families = devices.families(chips)
    on_cann = cann.examine(cann_here, families=families, acl_opens=acl.works)
    findings = (
        installation.code(),
        packages.python(),
        *base,
        packages.simplejpeg(),
        installation.extras(),
        *(ort, *([provider] if provider.mend else [])),
        *(openvino, torch, torch_npu),
        *on_cann,
        *(driver, *on_chips, acl),
    )
    return Examination(
        findings=findings,
        devices=chips,
        routes=(
            _route("onnxruntime", "cpu", GRAPHS, [*base, ort]),
            _route("openvino", "cpu", GRAPHS, [*base, openvino]),
            _route("torch", "cpu", CHECKPOINTS, [*base, torch]),
            _route("om (pyACL)", "npu", MODELS, [*base, acl]),
            _route("torch", "npu", CHECKPOINTS, [*base, torch, torch_npu]),
            _route("onnxruntime", "npu", GRAPHS, [*base, ort, provider]),
        ),
    )


def _route(engine: str, device: str, opens: str, needs: Sequence[Finding]) -> Route:
    """Refused for the first of its needs that does not work."""
    lacking = (f"{one.about}: {one.found}" for one in needs if not one.works)
    return Route(engine=engine, device=device, opens=opens, refused=next(lacking, ""))


if __name__ == "__main__":
    sys.exit(main())
