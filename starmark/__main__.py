# PYTHON_ARGCOMPLETE_OK
"""`starmark COMMAND ...`: one table of commands; a command's modules are imported when it runs."""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import os
import sys
from importlib import metadata

from runtime.cli import command_line
from runtime.errors import EXIT_BAD_INPUT, EXIT_OK
from runtime.version import VERSION

# By task, in the order of use. Command: its module, which `python -m` runs too, and what it does.
TASKS = {
    "make a bundle": {
        "export": ("export", "checkpoint -> ONNX -> .om, judged, as one bundle"),
        "preflight": ("export.preflight", "what ATC would refuse or change in an ONNX graph"),
        "kit": ("export.kit", "pack a bundle, code and wheels for a box without network"),
    },
    "find landmarks": {
        "infer": ("runtime.infer", "landmarks of a picture, a folder or a video"),
        "batch": ("runtime.batch", "any number of pictures into Parquet; resumable, or on Ray"),
    },
    "compare and judge": {
        "compare": (
            "parity.compare",
            "two sources on the same pictures, in pixels, with a verdict",
        ),
        "record": ("parity.record", "one source's results into a file that is compared elsewhere"),
        "rehearse": ("parity.rehearse", "how far an NPU's arithmetic moves the points"),
        "locate": ("parity.locate", "the stage at which two sources part"),
        "stability": ("parity.stability", "how steady a model's points are"),
        "diff": ("parity.diff", "what differs between two bundles or recordings"),
        "benchmark": ("parity.benchmark", "accuracy and latency of sources, side by side"),
        "selftest": ("parity.selftest", "whether a bundle runs here as it did where it was made"),
    },
    "look at models and machines": {
        "info": ("runtime.info", "what a model file or bundle holds"),
        "doctor": ("runtime.doctor", "what this machine can run, and what is missing"),
    },
}
COMMANDS = {name: entry for task in TASKS.values() for name, entry in task.items()}
# Engine: the packages that it may have come from.
ENGINES = {
    "onnxruntime": ("onnxruntime", *(f"onnxruntime-{of}" for of in ("cann", "gpu", "openvino"))),
    "openvino": ("openvino",),
    "torch": ("torch",),
    "torch_npu": ("torch_npu",),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        The command's exit code; 2 where there is no such command.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if command_line.COMPLETING in os.environ:
        return _complete()
    if not arguments or arguments[0] in {"-h", "--help"}:
        sys.stdout.write(_help())
        return EXIT_OK if arguments else EXIT_BAD_INPUT
    name, *rest = arguments
    if name == "--version":
        sys.stdout.write(_versions())
        return EXIT_OK
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, [*COMMANDS, "--help", "--version"], n=1)
        hint = f"Did you mean starmark {near[0]}?" if near else "See starmark --help."
        sys.stderr.write(f"error: {name!r}: expected a command, got none of that name. {hint}\n")
        return EXIT_BAD_INPUT
    return _run(name, rest)


def _run(name: str, arguments: list[str]) -> int:
    module, _ = COMMANDS[name]
    return command_line.run(
        lambda: int(importlib.import_module(f"{module}.__main__").main(arguments))
    )


def _complete() -> int:
    """Answer the shell: commands for the first word, then the options of the one it names."""
    import argcomplete
    from argcomplete.lexers import split_line

    line, point = os.environ["COMP_LINE"], int(os.environ["COMP_POINT"])
    *_, words, _ = split_line(line, point)
    here = int(os.environ[command_line.COMPLETING])
    if len(words) > here and words[here] in COMMANDS:
        os.environ[command_line.COMPLETING] = str(here + 1)  # the words before are the program
        return _run(words[here], [])
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--version", action="store_true")
    argcomplete.autocomplete(parser)
    return EXIT_OK


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        "usage: starmark COMMAND ...",
        "",
        "Export a face-landmark network for Ascend NPUs, and prove it in pixels first.",
    ]
    for task, commands in TASKS.items():
        lines += ["", f"{task}:"]
        lines += [f"  {name:{width}}  {does}" for name, (_, does) in commands.items()]
    lines += [
        "",
        "starmark COMMAND --help says more, with an example; starmark --version names the engines.",
        "",
    ]
    return "\n".join(lines)


def _versions() -> str:
    """This project's version and the engines', by what pip wrote down: none is imported."""
    found = {"starmark": VERSION, **{name: _version(ENGINES[name]) for name in ENGINES}}
    found["pyACL"] = "found" if importlib.util.find_spec("acl") else "none"
    return "".join(f"{name} {version}\n" for name, version in found.items())


def _version(packages: tuple[str, ...]) -> str:
    for package in packages:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return "none"


if __name__ == "__main__":
    sys.exit(main())
