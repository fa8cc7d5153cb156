"""Atc's output as real ones print it, which neither the product nor the simulator has a say in.

Each fixture is made by hand, in a form that is public; ids, times, names and the words of the
errors are of our own. The lines of success and failure, the dots and their order:
hicann/ge api/atc/main_impl.cc, CheckRet (2215 to 2249) and main_impl (2349, 2376). The forms of
errors, by what shows them:

    7.0   a plain "CODE: text"                   an output of CANN 7.0.RC1, and of 2021
    8.0   "CODE: [PID: n] time text"             outputs of CANN 8.0.0 and 8.1.RC1
    8.5   "[PID: n] time Title(CODE): text"      what users of CANN 8.5 and 9.0 posted in 2026
    9.1   the same, "TraceBack" flush left       hicann/runtime error_manager.cc:550 to 640

The product's reader is held to the fixtures, the simulator's writer to the forms that the fixtures
themselves are held to.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cann import graphs
from cann.atc_driver import conversion, run

from export.atc.errors import explain, warnings_in
from runtime.machine.process import Finished

STARTS = "ATC start working now, please wait for a moment."
SUCCESS = "ATC run success, welcome to the next use."
FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"
TIME = r"\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{3}\.\d{3}"
PID = r"\[PID: \d+\]"
TITLE = r"[A-Z][a-z]+(_[A-Za-z]+)+"

# release -> the lines under FAILED: of an error about the input, and of one inside CANN
OUTER = {
    "7.0": """E10016: [picture] of [--input_shape] is nowhere in it.
        Solution: Take a name that is there.
        TraceBack (most recent call last):
        Input shapes could not be read.[FUNC:Shapes][FILE:shapes.cc][LINE:31]
""",
    "8.0": """E10016: [PID: 4711] 2025-11-02-23:59:07.004.090 [picture] is nowhere in it.
        Possible Cause: It is misspelt.
        Solution: Take a name that is there.
        TraceBack (most recent call last):
        Input shapes could not be read.[FUNC:Shapes][FILE:shapes.cc][LINE:31]
""",
    "8.5": """[PID: 90] 2026-02-28-07:00:59.120.001 Wrong_Name(E10016): picture is nowhere in it.
        Solution: Take a name that is there.
        TraceBack (most recent call last):
        Input shapes could not be read.[FUNC:Shapes][FILE:shapes.cc][LINE:31]
""",
    "9.1": """[PID: 90] 2026-08-30-07:00:59.120.001 Wrong_Name(E10016): picture is nowhere in it.
        Solution: Take a name that is there.
TraceBack (most recent call last):
        Input shapes could not be read.
""",
}
INNER = {
    "7.0": """EZ9999: Inner Error!
EZ9999  tiling of [pool3] wants 3 axes and has 4.[FUNC:Tile][FILE:tile.cc][LINE:907]
        TraceBack (most recent call last):
        build graph failed, graph id:0, ret:-1[FUNC:Build][FILE:build.cc][LINE:15]
""",
    "8.0": """EZ9999: Inner Error!
EZ9999: [PID: 4711] 2025-11-02-23:59:07.004.090 tiling of [pool3] wants 3 axes and has 4.[FUNC:Tile]
        TraceBack (most recent call last):
        build graph failed, graph id:0, ret:-1[FUNC:Build][FILE:build.cc][LINE:15]
""",
    "8.5": """EZ9999: Inner Error!
EZ9999[PID: 90] 2026-02-28-07:00:59.120.001 (EZ9999):  tiling of [pool3] wants 3 axes and has 4.
        TraceBack (most recent call last):
       build graph failed, graph id:0, ret:-1[FUNC:Build][FILE:build.cc][LINE:15]
""",
    "9.1": """EZ9999: Internal error!
EZ9999[PID: 90] 2026-08-30-07:00:59.120.001 (EZ9999):  tiling of [pool3] wants 3 axes and has 4.
TraceBack (most recent call last):
       build graph failed, graph id:0, ret:-1
""",
}
# the same again as patterns: first line, then whatever may follow, then where TraceBack stands
_UNDER = r"(\n {8}(Possible Cause|Solution): .*)*"
_DEEP = r"\n {8}TraceBack \(most recent call last\):"
_FLUSH = r"\nTraceBack \(most recent call last\):"
OUTER_FORM = {
    "7.0": rf"E\d{{5}}: (?!{PID})\S.*{_UNDER}{_DEEP}(\n {{8}}\S.*)*",
    "8.0": rf"E\d{{5}}: {PID} {TIME} (?!{TITLE}: )\S.*{_UNDER}{_DEEP}(\n {{8}}\S.*)*",
    "8.5": rf"{PID} {TIME} {TITLE}\(E\d{{5}}\): \S.*{_UNDER}{_DEEP}(\n {{8}}\S.*)*",
    "9.1": rf"{PID} {TIME} {TITLE}\(E\d{{5}}\): \S.*{_UNDER}{_FLUSH}(\n {{8}}\S.*)*",
}
INNER_FORM = {
    "7.0": rf"(E[A-Z0-9]9999): Inner Error!\n\1  \S.*{_DEEP}(\n {{8}}\S.*)*",
    "8.0": rf"(E[A-Z0-9]9999): Inner Error!\n\1: {PID} {TIME} \S.*{_DEEP}(\n {{8}}\S.*)*",
    "8.5": rf"(E[A-Z0-9]9999): Inner Error!\n\1{PID} {TIME} \(\1\):  \S.*{_DEEP}(\n {{7}}\S.*)*",
    "9.1": rf"(E[A-Z0-9]9999): Internal error!\n\1{PID} {TIME} \(\1\):  \S.*{_FLUSH}"
    r"(\n {7}\S.*)*",
}
RELEASES = tuple(OUTER)
# The warnings that follow success, in the old and in the new look.
WARNINGS = {
    "7.0": "W11001: Op [cut_7] has no fast kernel, and runs slowly.",
    "8.5": "[PID: 90] 2026-02-28-07:00:59.120.001 Slow_Operator(W11001): Op cut_7 is slow.",
}


def ended(output: str, status: int = 255) -> Finished:
    return Finished(returncode=status, output=output, seconds=3.2, timed_out=False)


def failure(block: str, dots: str = "........") -> Finished:
    """As main_impl prints it: the compiler's dots, three more with a line break, the block."""
    return ended(f"{STARTS}\n{dots}...\n{FAILED}\n{block}\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CANNSIM_CANN", "CANNSIM_FAULT", "CANNSIM_SUFFIX", "CANNSIM_ATC_SECONDS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    graphs.save(tmp_path, graphs.conv())
    return tmp_path


@pytest.mark.parametrize("release", RELEASES)
def test_the_forms_are_those_of_the_fixtures(release: str) -> None:
    """So that a form cannot be bent to what the simulator happens to print."""
    assert re.fullmatch(OUTER_FORM[release], OUTER[release].rstrip("\n"))
    assert re.fullmatch(INNER_FORM[release], INNER[release].rstrip("\n"))
    for other in set(RELEASES) - {release}:
        assert not re.fullmatch(OUTER_FORM[other], OUTER[release].rstrip("\n")), other
        assert not re.fullmatch(INNER_FORM[other], INNER[release].rstrip("\n")), other


@pytest.mark.parametrize("release", RELEASES)
def test_the_product_reads_an_error_about_the_input(release: str) -> None:
    found = explain(failure(OUTER[release]))
    assert re.match(r"E10016: \[?picture\]? .*is nowhere in it\. \(likely: ", found.cause)
    names_the_option = "--input_shape" in OUTER[release]
    assert found.action.startswith("Make the bundle" if names_the_option else "Correct the names")


@pytest.mark.parametrize("release", RELEASES)
def test_the_product_reads_the_cause_behind_an_error_inside_cann(release: str) -> None:
    said = explain(failure(INNER[release])).cause
    assert said.startswith("EZ9999: tiling of [pool3] wants 3 axes and has 4. (likely: ")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("release", RELEASES)
def test_the_simulator_writes_an_error_about_the_input(
    monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    monkeypatch.setenv("CANNSIM_CANN", release)
    done = run(*conversion(input_shape="picture:1,3,8,8"))
    head, block = done.out.split(f"{FAILED}\n")
    assert head == f"{STARTS}\n...\n"
    assert re.fullmatch(OUTER_FORM[release], block.rstrip("\n")), block
    found = explain(ended(done.out))
    assert found.cause.startswith("E10016: ")
    # its text names the option: hicann/ge base/common/error_registry/error_registry.cc:176
    assert found.action.startswith("Make the bundle again")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("release", RELEASES)
def test_the_simulator_writes_an_error_inside_cann(
    monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    monkeypatch.setenv("CANNSIM_CANN", release)
    monkeypatch.setenv("CANNSIM_FAULT", "atc:E19999")
    block = run(*conversion()).out.split(f"{FAILED}\n")[1]
    assert re.fullmatch(INNER_FORM[release], block.rstrip("\n")), block
    assert explain(ended(block)).cause.startswith("E19999: INJECTED")


@pytest.mark.parametrize("release", WARNINGS)
def test_warnings_follow_success_in_the_look_of_their_release(
    folder: Path, monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    """A fixture, and an output of the simulator's: both are read, and nothing beside them."""
    output = f"{STARTS}\n.....................{SUCCESS}\n{WARNINGS[release]}\n\n"
    assert warnings_in(output) == (WARNINGS[release],)
    monkeypatch.setenv("CANNSIM_CANN", release)
    pool = graphs.one("MaxPool", kernel_shape=[16, 16])
    graphs.save(folder, graphs.model([pool], dims=(1, 1, 32, 32)))
    lines = run(*conversion()).out.splitlines()
    assert lines[:3] == [STARTS, "...", SUCCESS]
    form = {"7.0": r"W11001: \S.*", "8.5": rf"{PID} {TIME} {TITLE}\(W11001\): \S.*"}[release]
    assert re.fullmatch(form, lines[3]), lines[3]
    assert warnings_in("\n".join(lines)) == (lines[3],)


@pytest.mark.usefixtures("folder")
def test_help_names_each_option_after_two_spaces() -> None:
    """Usage as SetUsageMessage has it: main_impl.cc:545 ff.; the product looks for `--option`."""
    usage = (
        f"{STARTS}\nusage: atc <args>\n\n===== Basic Functionality =====\n[General]\n"
        "  --h/help            Show this help message\n"
        "  --dynamic_batch_size Set dynamic batch size\n\n[Target]\n"
        "  --virtual_type      Set whether a slice can run it\n"
    )
    for text in (usage, run("--help").out):
        assert text.startswith(f"{STARTS}\nusage: atc <args>")
        assert {"--dynamic_batch_size", "--virtual_type"} <= set(text.split())
        assert re.search(r"^ {2}--virtual_type\b", text, re.MULTILINE)
