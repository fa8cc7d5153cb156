"""The cause that is found in a failed run of ATC, in every form that real ones were seen to take.

The outputs are made by hand in public forms: those of CANN 20.1 to 9.0 as users posted them, and of
Huawei's open error manager. Ids, times, names and words are of our own.
"""

from __future__ import annotations

import pytest
from atc_runs import FAILED, STARTS, ended, explained

from export.atc.codes import CODES, meaning_of
from export.atc.errors import explain, warnings_in
from runtime.errors import ExportError

STAMP = "[PID: 90] 2026-02-28-07:00:59.120.001"
TRACEBACK = "TraceBack (most recent call last):\n       build graph failed, ret:-1[FUNC:Build]"
FORMS = [
    ("E16002: No parser for Conv.\n  Solution: y", "E16002: No parser for Conv."),
    (
        "E10054: [PID: 7] 2026-11-23-08:22:38.299.336 Invalid_Argument: --model is empty.",
        "E10054: --model is empty.",
    ),
    ("E10054: [PID: 7] 2026-11-23 08:22:38.299 --model is empty.", "E10054: --model is empty."),
    ("[PID: 7] 2026-11-23-08:22:37.9 Not_Supported(E10055): no mode.", "E10055: no mode."),
    # a colon in the text is no title's
    ("E13010: [PID: 7] 2026-11-23-08:22:38.2 No plugin for Op: conv", "E13010: No plugin for Op:"),
    ("E40021: [PID: 3] 2024-01-01 Failed to compile Op [conv]", "E40021: Failed to compile Op"),
    (
        "E19999: Inner Error!\nE19999: [PID: 62] 2026-10-07-20:48:26.5 no such shape",
        "no such shape",
    ),
    # inner errors of 7.0 (no colon), of 8.5, and of 9.1, whose TraceBack is flush left
    *(
        (
            f"EZ9999: In{end}\n{line}3 axes.[FUNC:Tile]\n{trace}{TRACEBACK}",
            "EZ9999: it wants 3 axes. (",
        )
        for end, line, trace in [
            ("ner Error!", "EZ9999  it wants ", "        "),
            ("ner Error!", f"EZ9999{STAMP} (EZ9999):  it wants ", "        "),
            ("ternal error!", f"EZ9999{STAMP} (EZ9999):  it wants ", ""),
        ]
    ),
    (
        f"{STAMP} Wrong_Name(E10016): it is nowhere.\n{TRACEBACK}",
        "E10016: it is nowhere. (",
    ),
    # the cause on an indented line, and an answer without one
    (
        "E19999: Internal Error!\n        The axis 5 is too large.",
        "E19999: The axis 5 is too large",
    ),
    ("E19999: Inner Error!\n        An unknown error occurred.", "E19999: An unknown error"),
    ("EE9999: Inner Error!", "EE9999: Inner Error!"),
    # text of 2021: no colon after the code, nothing indented
    (
        (
            "ATC run failed, Make sure this is what you want: '--mode=0'. Please check the log\n"
            "E89999: Inner Error!\n"
            "E89999 op[Add_9], dtypes differ: DT_INT64, DT_INT32[FUNC:Same][FILE:util.cc][LINE:3]\n"
            "Verifying Add_9 failed.[FUNC:Infer][FILE:infer.cc][LINE:5]"
        ),
        "E89999: op[Add_9], dtypes differ: DT_INT64, DT_INT32 (likely",
    ),
    # a code whose text stands on the next line
    ("E10001:\n        Value [a b] for --output is invalid.", "E10001: Value [a b] for --output"),
    ("E10001: [PID: 8] 2026-01-01-00:00:00.000.000\n   Value 7 is invalid.", "E10001: Value 7 is"),
    # several codes: the first, unless it is one inside CANN
    ("E10016: first\nE10017: second", "E10016: first"),
    ("E19999: Inner Error!\nE19999: [PID: 1] 2026-01-01 x\nEZ3002: no fp32", "EZ3002: no fp32"),
    ("E29999: Inner Error!\nE29999  y\n[PID: 1] 2026-01-01 A_B(E10410): gone", "E10410: gone"),
    # dots without a line break before it
    (".......E10016: first", "E10016: first"),
    # other alphabets
    ("E10016: 节点 [图像] 不存在", "E10016: 节点 [图像] 不存在"),
    ("E10016: \ufffd\ufffd gone", "E10016: \ufffd\ufffd gone"),
]


@pytest.mark.parametrize(("block", "said"), FORMS, ids=[str(i) for i in range(len(FORMS))])
@pytest.mark.parametrize("head", [STARTS + "...\n" + FAILED, FAILED, ""])
def test_the_cause_is_found_in_every_form(head: str, block: str, said: str) -> None:
    """With or without the lines before it."""
    found, action = explained(head + block)
    assert said in found
    assert action


def test_a_hollow_cause_gives_way_to_the_trace() -> None:
    """The line that names an operator, not the one that counts graphs."""
    said, action = explained(
        f"{FAILED}E19999: Inner Error!\n"
        "E19999: [PID: 62] 2026-10-07-20:48:26.590.568 [Call][PreRun] Failed, graph_id:151,"
        " session_id:0.[FUNC: Compile][FILE: manager.cc][LINE: 4512]\n"
        "        TraceBack (most recent call last):\n"
        "        build graph failed, graph id:3, ret:4294967295[FUNC:Build][FILE:g.cc][LINE:1]\n"
        "        [Compile][Graph] Compile failed. Unsupported operator: _fold_mask\n"
        "        Model conversion failed.\n"
    )
    assert said == (
        "E19999: Compile failed. Unsupported operator: _fold_mask"
        " (likely: an operator or opset without a parser)"
    )
    assert action == "Run python -m export.preflight"


def test_a_failed_operator_is_named_with_what_the_trace_adds() -> None:
    said, _ = explained(
        f"{FAILED}E20001: [PID: 20] 2025-06-16-13:02:36.801.136 Failed to compile Op [/layers.4/"
        "Slice_batch_5]. (optype: [StridedSliceD])\n"
        "        Possible Cause: An argument of the operator is not valid.\n"
        "        Solution: Ask for support.\n"
        "        TraceBack (most recent call last):\n"
        "        Do prebuild failed, taskID[281:259].\n"
        "        begin has 3 axes, x has 4.[FUNC:Check][FILE:slice.cc][LINE:131]\n"
    )
    assert said.startswith(
        "E20001: Failed to compile Op [/layers.4/Slice_batch_5]. (optype: [Strid"
    )
    assert "; begin has 3 axes, x has 4. (likely: an operator could not be compiled)" in said


def test_an_option_this_atc_has_not() -> None:
    """The parser's own line, on stderr: cmd_flag_info.cc, ParseCommandLine."""
    said, action = explained(f"ERROR: unknown command line flag 'jit_compile'\n{STARTS}{FAILED}")
    assert said == "unknown command line flag 'jit_compile'"
    assert "Leave that option out" in action


def test_an_environment_that_is_not_set_shows_in_an_option_nobody_gave() -> None:
    _, action = explained(f"{FAILED}E10001: Value [] for [--host_env_os] is invalid")
    assert action == "Source CANN's set_env.sh in this shell"


def test_missing_kernels_ask_for_the_chips_package() -> None:
    said, action = explained(
        f"{FAILED}EZ3003: [PID: 5] 2026-01-01-00:00:00.0 No engine for [conv], optype [Conv2D]."
    )
    assert "no operators for this chip are installed" in said
    assert "ops package of this chip" in action


def test_without_any_error_the_last_words_are_given() -> None:
    assert explained("nothing to see", 3) == ("nothing to see", "Read the log")
    assert explained("", 7) == ("no output", "Read the log")


@pytest.mark.parametrize("length", [7, 8, 9, 10, 11, 12, 13])
def test_the_last_words_are_whole(length: int) -> None:
    """Wherever the limit falls; what is one word alone has a mark where it was cut."""
    words = [str(number).zfill(length) for number in range(400)]
    said, _ = explained(f"{STARTS}{' '.join(words)}\n", 3)
    mark, *whole = said.split()
    assert mark == "…"
    assert whole
    assert whole == words[-len(whole) :]
    assert explained("x" * 5000, 3)[0] == f"…{'x' * 200}"


# text: hicann/ge base/common/error_registry/error_registry.cc:22, 33, 176 and 187
NAMED_OPTIONS = [
    (
        "E10016: Op name picture specified in --input_shape is not found in the model.",
        "Make the bundle again; report it with the log, should it recur",
    ),
    ("E10017: Input Op a specified in --input_fp16_nodes is invalid.", "Correct the option it"),
    ("E10016: Op name a specified in --out_nodes is not found in it.", "Correct the option it"),
    ("E10016: Op name a specified in --keep_dtype is not found in it.", "Correct the names in"),
    (
        "E10001: Value Ascend910X for parameter --soc_version is invalid. Reason: unsupported",
        "Check --soc_version with npu-smi info on the box",
    ),
    ("E10001: Value [Ascend910X] for parameter [soc_version] is invalid.", "Check --soc_version"),
    ("E10001: Value [x] for [--soc_version] is invalid.", "Check --soc_version with npu-smi"),
    ("E10003: Value a,b for parameter --dynamic_batch_size is invalid.", "Correct --dynamic_b"),
    ("E10001: Value 9 for parameter --op_debug_level is invalid.", "Correct the option it names"),
    ("E10002: Value a for parameter --input_shape is invalid.", "Correct --batch_sizes"),
    ("E10055: soc_version and mode do not fit.", "Check --soc_version with npu-smi info"),
]


@pytest.mark.parametrize(("block", "action"), NAMED_OPTIONS)
def test_the_remedy_fits_the_option_that_is_named(block: str, action: str) -> None:
    """What this project sets itself, nobody can correct; not every option reads a file."""
    assert explained(f"{FAILED}{block}")[1].startswith(action)


def test_every_known_code_has_a_cause_and_a_remedy() -> None:
    for code, (cause, action) in CODES.items():
        assert cause
        assert action
        assert not action.endswith(".")
        said = explained(f"{code}: text")
        assert said == (f"{code}: text (likely: {cause})", action)


def test_codes_that_no_table_has_are_placed_by_their_beginning() -> None:
    assert meaning_of("E39999")[0] == "an error inside CANN"
    assert meaning_of("EC0007")[0] == "an operator could not be compiled"
    assert meaning_of("E77777") == ("", "")


def test_a_long_text_leaves_room_for_meaning_and_remedy() -> None:
    found = explain(ended(f"{FAILED}E10016: {'very ' * 400}long"))
    error = ExportError(
        "atc x", expected="y", got=f"it exited 255 after 12 s: {found.cause}", action=found.action
    )
    assert "(likely: a name the model does not have). Correct the names" in str(error)


def test_warnings_are_no_errors() -> None:
    output = "W11001: Op [a] is slow\n[PID: 1] 2026-01-01-00:00:00.1 A_B(W11003): c\nE10016: no\n"
    assert warnings_in(output) == tuple(output.splitlines()[:2])
