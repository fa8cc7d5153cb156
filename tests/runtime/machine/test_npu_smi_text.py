"""Tables and board answers, in every form that npu-smi is known to print."""

from __future__ import annotations

import re

import npu_smi_tables as tables
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.machine.npu_smi_text import Table, read_board, read_table

DDR = ("DDR_PCIE", "DDR_BOARD", "DDR_OLD_BOARD")
FORMS = (*DDR, "FIRST_910", "HBM", "A3", "A5", "A5_UB")
BUSY = {"DDR_PCIE": "BUSY_DDR", "HBM": "BUSY_HBM", "A3": "BUSY_A3", "A5": "BUSY_A5"}
IDLE = re.compile(r"^\| No running.*\n", re.MULTILINE)
PROCESS_HEADINGS = re.compile(r"^\+-.*\n\| NPU.*Process id.*\n\+=.*\n", re.MULTILINE)
LOG_LEVEL = "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n"
NOT_INSTALLED = "[WARNING]The driver package may not be completely installed.\n"


def form(name: str) -> str:
    text: str = getattr(tables, name)
    return text


def read(text: str) -> Table:
    table = read_table(text)
    assert table is not None
    return table


def rows(text: str) -> list[tuple[object, ...]]:
    """What was read, where every line could be."""
    table = read(text)
    assert table.bad_lines == ()
    return [
        (one.npu_id, one.chip_id, one.name, one.health, one.memory_used_mb, one.memory_total_mb)
        for one in table.chips
    ]


def lines_with(text: str, mark: str) -> list[str]:
    return [line for line in text.splitlines(keepends=True) if mark in line]


@pytest.mark.parametrize("name", sorted(BUSY))
def test_processes_below_are_no_chips(name: str) -> None:
    """Nor without a number, as of another container, where the headings tell; nor without headings.

    npu-smi 25.7 was seen to end its table with processes alone.
    """
    processes = form(BUSY[name])
    busy, count = IDLE.subn(processes, form(name))
    numberless = IDLE.sub(re.sub(r"\b(2757|12|1774110|1530715)\b", "NA", processes), form(name))
    bare = PROCESS_HEADINGS.sub("", busy)

    assert count
    assert "| NA" in numberless
    assert "Process id" not in bare
    for text in (busy, numberless, bare):
        assert rows(text) == tables.ROWS[form(name)]


@pytest.mark.parametrize("name", ["DDR_PCIE", "HBM", "A5"])
def test_a_note_of_an_idle_card_may_stand_between_chips(name: str) -> None:
    whole = PROCESS_HEADINGS.sub("", form(name))
    idle = lines_with(whole, "No running")[0]
    health = tables.ROWS[form(name)][1][3]
    second = lines_with(whole, f"| {health}")[0]

    assert rows(whole.replace(second, idle + second)) == tables.ROWS[form(name)]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    "noise",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", " \t \n"),
        lambda text: text.replace("\n|", "\n\t|"),
        lambda text: text.replace("  ", "\t"),
        lambda text: re.sub(r"(OK|Alarm|Warning)", "\x1b[1;31m\\1\x1b[0m\x1b[K", text),
        lambda text: LOG_LEVEL + text + NOT_INSTALLED,
        lambda text: text.replace("\n|", f"\n{NOT_INSTALLED}[WARN] a | b | c\n|"),
        lambda text: "\n\n" + text.replace("\n", "\n\n"),
        lambda text: re.sub(r"^\+.*\n", "", text, flags=re.MULTILINE),
        lambda text: re.sub(r"npu-smi \S+", "npu-smi 27.0.rc1.b031.alpha-2026.11.04-build7", text),
    ],
    ids=[
        *("as-is", "crlf", "blanks", "indented", "tabs", "colours", "around", "between", "gaps"),
        *("bare", "v"),
    ],
)
def test_every_form_is_read_whatever_surrounds_it(name: str, noise: object) -> None:
    assert callable(noise)
    assert rows(noise(form(name))) == tables.ROWS[form(name)]


@pytest.mark.parametrize("name", ["DDR_PCIE", "HBM", "A5", "A5_UB"])
def test_a_chip_without_its_second_line_is_listed(name: str) -> None:
    """The driver drops it where a query fails: print_card_total_info_second."""
    # 950's first such line is one of headings
    second = lines_with(form(name), "|        |")[1:] or lines_with(form(name), "| 0 ")
    first, other = tables.ROWS[form(name)]

    assert rows(form(name).replace(second[0], "", 1)) == [(*first[:4], None, None), other]


def test_chips_of_a_card_are_counted_where_their_lines_are_missing() -> None:
    text = form("A3").replace(lines_with(form("A3"), "| 1     9 ")[0], "")

    assert [one[:2] for one in rows(text)] == [(4, 0), (4, 1)]


@pytest.mark.parametrize("name", ["DDR_PCIE", "HBM", "A3", "A5", "A5_UB"])
def test_a_second_line_alone_hides_no_other_chip(name: str) -> None:
    """The driver drops the first where the health cannot be told: print_card_total_info_first."""
    health = tables.ROWS[form(name)][0][3]
    first = lines_with(form(name), f"| {health}")[0]
    table = read(form(name).replace(first, "", 1))

    assert [one.npu_id for one in table.chips] == [tables.ROWS[form(name)][1][0]]
    assert [bad.number for bad in table.bad_lines] == [
        form(name).splitlines().index(first[:-1]) + 1
    ]


@pytest.mark.parametrize(
    ("whole", "broken"),
    [
        ("| 24      310P3 ", "| 310P3   24    "),
        ("| 24      310P3                 | OK              |", "| 24      310P3 | "),
        ("| 24      310P3 ", "|               "),
        ("| 24      310P3 ", "| \u00b2\u2074      310P3 "),
    ],
)
def test_a_first_line_that_cannot_be_read_hides_no_other_chip(whole: str, broken: str) -> None:
    table = read(form("DDR_PCIE").replace(whole, broken))

    assert [one.npu_id for one in table.chips] == [224]
    assert [bad.number for bad in table.bad_lines] == [7]


def test_a_second_line_that_cannot_be_read_leaves_the_name() -> None:
    text = form("HBM").replace(
        "| 0                         | 0000:C2", "| ?                | 0000:C2"
    )
    table = read(text)

    assert [(one.name, one.memory_total_mb) for one in table.chips] == [
        ("910B4-1", None),
        ("910B3vir10_3c_32g", 32740),
    ]
    assert [bad.text[:3] for bad in table.bad_lines] == ["| ?"]


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ("NA / 15609                             ", (None, 15609)),  # print_card_total_info_second
        ("0    / 0                               ", (None, None)),  # an unanswered query's
        ("-    / -                               ", (None, None)),
        ("-12  / 15609                           ", (None, None)),
        ("                                       ", (None, None)),
        ("99999/ 131072                          ", (99999, 131072)),
        ("0    / 15079     31   / 32768          ", (31, 32768)),
    ],
)
def test_memory_that_is_not_printed_is_none(
    figures: str, expected: tuple[int | None, int | None]
) -> None:
    text = form("DDR_BOARD").replace("3628 / 11577                            ", figures)

    assert [row[4:] for row in rows(text)] == [expected]


def test_a_chip_may_have_no_name() -> None:
    """dcmi_get_device_chip_info failed, and the tool goes on."""
    text = form("DDR_BOARD").replace("310B1", "     ")

    assert rows(text)[0][:4] == (0, 0, "", "Alarm")


@pytest.mark.parametrize("health", ["OK", "Warning", "Alarm", "Critical", "UNKNOWN", "Offline"])
def test_a_health_is_not_taken_for_a_bus(health: str) -> None:
    """Whatever its text; of a chip whose name has letters, or with a known text."""
    text = form("HBM").replace("| OK           ", f"| {health:<13}")

    assert [one[3] for one in rows(text)] == [health, "UNKNOWN"]


def test_controllers_are_no_chips() -> None:
    controller = (
        "| 0       Mcu                   | OK              | 3.1          40                |\n"
        "| 1       NA                    | NA              | NA           NA                |\n"
    )
    text = form("DDR_BOARD") + controller

    assert rows(text) == tables.ROWS[form("DDR_BOARD")]


def test_950_of_the_older_build_prints_three_columns_under_four() -> None:
    """print_card_total_info_with_HBM_first without NPU_SMI_V2, print_chip_info of NPU_CHIP_950."""
    text = form("A5").replace("| 6      | Ascend950PR      |", "| 6     Ascend950PR         |")

    assert rows(text) == tables.ROWS[form("A5")]


@pytest.mark.parametrize("name", FORMS)
def test_a_table_may_be_empty(name: str) -> None:
    text = "".join(form(name).splitlines(keepends=True)[:6])

    assert rows(text) == []


@pytest.mark.parametrize(
    "text", ["", "Usage: npu-smi info <watch|proc|-h> [Options...]\n", "| 0 310P3 | OK | 1 |\n"]
)
def test_without_headings_there_is_no_table(text: str) -> None:
    assert read_table(text) is None


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="|+=- \n\tNPUHealthmeb:0123456789OKsc/.\x1b[\u00b2", max_size=400))
def test_any_text_is_read(text: str) -> None:
    """No answer makes the reader stumble."""
    lines = text.count("\n") + 1
    table = read(f"| NPU Name | Health | x |\n| Chip | Bus-Id | y |\n{text}")

    assert len(table.chips) + len(table.bad_lines) <= lines + 1
    read_board(text)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\t", " " * 14),
        lambda text: re.sub(r"^\s+", "", text, flags=re.MULTILINE),
        lambda text: re.sub(r" +: ", ":", text),
        lambda text: re.sub(r" +: ", "\uff1a ", text),
        lambda text: "".join(reversed(text.splitlines(keepends=True))),
        lambda text: text.replace("\n", " (from the board)\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("Name  ", "name  ").replace("NPU n", "NPU  N"),
        lambda text: LOG_LEVEL + text + NOT_INSTALLED,
        lambda text: text + "\tChip Name                      : Mcu\n",
    ],
    ids=["as-is", "13", "left", "tight", "wide", "order", "tail", "crlf", "case", "around", "mcu"],
)
@pytest.mark.parametrize(
    ("name", "chip", "npu"),
    [
        ("BOARD_A2_CHIP", "910B4", None),
        ("BOARD_A2_CARD", None, None),
        ("BOARD_A3_CHIP", "Ascend910", "9372"),
        ("BOARD_A5", "Ascend950PR", "957b"),
    ],
)
def test_a_board_is_read_by_its_labels(
    change: object, name: str, chip: str | None, npu: str | None
) -> None:
    assert callable(change)
    fields = read_board(change(form(name)))

    assert fields.get("npu name") == npu
    assert fields.get("chip name") == (chip or ("Mcu" if "Mcu" in change("") else None))


def test_what_is_not_available_on_a_board_is_left_out() -> None:
    fields = read_board(form("BOARD_A5").replace(": 957b", ": NA"))

    assert "npu name" not in fields
    assert (fields["main board id"], fields["chip name"]) == ("0x68(1P)", "Ascend950PR")
