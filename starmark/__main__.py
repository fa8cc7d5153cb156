"""`starmark COMMAND ...`: one table of commands; a command's modules are imported when it runs."""

from __future__ import annotations

import difflib
import importlib
import sys

from runtime.cli import command_line
from runtime.errors import EXIT_BAD_INPUT, EXIT_OK
from runtime.version import VERSION

# Command: its module, which `python -m` runs too, and what it does. In the order of use.
COMMANDS = {
    "export": ("export", "checkpoint -> ONNX -> .om, judged, as one bundle"),
    "preflight": ("export.preflight", "what ATC would refuse or change in an ONNX graph"),
    "kit": ("export.kit", "pack a bundle, code and wheels for a box without network"),
    "infer": ("runtime.infer", "landmarks of a picture, a folder or a video"),
    "batch": ("runtime.batch", "any number of pictures into Parquet; resumable, or on Ray"),
    "info": ("runtime.info", "what a model file or bundle holds"),
    "doctor": ("runtime.doctor", "what this machine can run, and what is missing"),
    "compare": ("parity.compare", "two sources on the same pictures, in pixels, with a verdict"),
    "record": ("parity.record", "one source's results into a file that is compared elsewhere"),
    "selftest": ("parity.selftest", "whether a bundle runs here as it did where it was made"),
    "locate": ("parity.locate", "the stage at which two sources part"),
    "rehearse": ("parity.rehearse", "how far an NPU's arithmetic moves the points"),
    "stability": ("parity.stability", "how steady a model's points are"),
    "benchmark": ("parity.benchmark", "accuracy and latency of sources, side by side"),
    "diff": ("parity.diff", "what differs between two bundles or recordings"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        The command's exit code; 2 where there is no such command.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in {"-h", "--help"}:
        sys.stdout.write(_help())
        return EXIT_OK if arguments else EXIT_BAD_INPUT
    name, *rest = arguments
    if name == "--version":
        sys.stdout.write(f"starmark {VERSION}\n")
        return EXIT_OK
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"Did you mean starmark {near[0]}?" if near else "See starmark --help."
        sys.stderr.write(f"error: {name}: expected a command, got none of that name. {hint}\n")
        return EXIT_BAD_INPUT
    module, _ = COMMANDS[name]
    return command_line.run(lambda: int(importlib.import_module(f"{module}.__main__").main(rest)))


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {does}" for name, (_, does) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: starmark COMMAND ...",
            "",
            "Export a face-landmark network for Ascend NPUs, and prove it in pixels first.",
            "",
            *lines,
            "",
            "starmark COMMAND --help says more, with an example.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
