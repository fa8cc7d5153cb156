"""Parses the output of npu-smi: its table of chips, and the board of one chip.

The table has two lines for a chip. In the first stand the card's number, the chip's name and its
health; in the second the chip's number, its bus address and the memory. The columns differ by
product and version; the last cell but one tells the two apart in all of them:

    310, 310B, 310P     | NPU Name          | Health | Power Temp Hugepages |
                        | Chip Device       | Bus-Id | AICore Memory        |
    910, 910B, A3       | NPU Name          | Health | Power Temp Hugepages |
                        | Chip [Phy-ID]     | Bus-Id | AICore Memory HBM    |
    950                 | NPU ID | Name     | Health | Power Temp Hugepages |
                        |        |          | Bus-Id | NPU Util Memory HBM  |

Either line may be missing: the tool drops the one whose query failed.

Source: hicann/driver, src/custom/dev_prod/user/npucli/src/npu_info_print.c, npu_common.c
(health texts), npu_info.c; tables of npu-smi 1.8 to 26.0 as users posted them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

COLOUR = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\(B)")
_BUS = re.compile(r"[0-9A-Fa-f]{2,8}:[0-9A-Fa-f]{1,2}:[0-9A-Fa-f]{1,2}\.[0-9A-Fa-f]+")
# [V: npu_common.c npu_common_get_health_state_str]
_HEALTHS = ("ok", "warning", "alarm", "critical", "unknown")
_NOT_AVAILABLE = ("", "-", "na", "n/a")
_USED_OF_TOTAL = re.compile(r"(?<![-\w])(\d+|NA|-)\s*/\s*(\d+|NA|-)")
# A card's own controllers, which are no chips to compute on.
_CONTROLLERS = ("mcu", "3559")


@dataclass(frozen=True, kw_only=True)
class ChipRow:
    """One chip as it is printed: its name is empty where the driver could not tell.

    The memory is the one that models live in, None where it is not printed.
    """

    npu_id: int
    chip_id: int
    name: str
    health: str
    memory_used_mb: int | None
    memory_total_mb: int | None


@dataclass(frozen=True, kw_only=True)
class BadLine:
    """A line of the table that could not be read, by its number from 1."""

    number: int
    text: str
    expected: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """The chips of the table, and the lines that could not be read."""

    chips: tuple[ChipRow, ...]
    bad_lines: tuple[BadLine, ...]


def read_table(text: str) -> Table | None:
    """Read all that `npu-smi info` and others in between print; None without a table of chips."""
    reader = _TableReader()
    found = False
    in_chips = False
    for line in _lines(text):
        if any(cell.lower() == "health" for cell in line.cells):
            found = in_chips = True
        elif any(cell.lower().startswith("process id") for cell in line.cells):
            in_chips = False  # the table of processes, whose rows look like chips
        elif in_chips and not _is_beside_the_chips(line):
            reader.take(line)
    reader.end_chip()
    return Table(chips=tuple(reader.chips), bad_lines=tuple(reader.bad_lines)) if found else None


def read_board(text: str) -> dict[str, str]:
    """Read what `npu-smi info -t board` prints: the first value of each label.

    Args:
        text: lines of "label : value" in any order and indentation.

    Returns:
        Values up to their first blank, by label in lower case; what is not available is left out.
    """
    fields: dict[str, str] = {}
    for raw in text.splitlines():
        label, *rest = re.split(r"[:\uff1a]", re.sub(COLOUR, "", raw), maxsplit=1)
        value, *_ = [*"".join(rest).split(), ""]
        if value.lower() not in _NOT_AVAILABLE:
            fields.setdefault(" ".join(label.lower().split()), value)
    return fields


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A line of cells; `state` is the health or the bus address, `lead` the words before it."""

    number: int
    text: str
    cells: list[str]

    @property
    def state(self) -> str:
        return self.cells[-2] if len(self.cells) > 1 else ""

    @property
    def lead(self) -> list[str]:
        return " ".join(self.cells[:-2]).split()


def _lines(text: str) -> Iterator[_Line]:
    """The lines that have cells; rulers and what others print in between have none."""
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(COLOUR, "", raw).strip()
        if line.startswith("|"):
            cells = line.removeprefix("|").removesuffix("|").split("|")
            yield _Line(number=number, text=line, cells=[cell.strip() for cell in cells])


def _is_beside_the_chips(line: _Line) -> bool:
    """A title, the note of an idle card, the second line of headings, or a process."""
    if len(line.cells) == 1 or line.state.lower() == "bus-id":
        return True
    # some versions print processes without headings: the second column is then the process id
    return line.cells[1].isdigit()


@dataclass(kw_only=True)
class _TableReader:
    """Puts the two lines of each chip together.

    `_first` is a first line whose second is still to come; its npu_id is None where it could not
    be read.
    """

    chips: list[ChipRow] = field(default_factory=list)
    bad_lines: list[BadLine] = field(default_factory=list)
    _first: tuple[int | None, str, str] | None = None

    def take(self, line: _Line) -> None:
        """Read the next line of the table."""
        if len(line.cells) < 3:
            self._refuse(line, "three cells or more")
            if self._first is None:
                self._first = (None, "", "")
            else:
                self.end_chip()
        elif not self._is_second(line):
            self.end_chip()
            number, *name = [*line.lead, ""]
            npu_id = int(number) if number.isdecimal() else None
            if npu_id is None:
                self._refuse(line, "a card's number and a chip's name")
            self._first = (npu_id, " ".join(name).strip(), line.state)
        elif self._first is None:
            self._refuse(line, "a line with the chip's name before it")
        elif line.lead and not line.lead[0].isdecimal():
            self._refuse(line, "a chip's number")
            self.end_chip()
        else:
            self.end_chip(line)

    def end_chip(self, second: _Line | None = None) -> None:
        """Keep the chip whose first line was read, with or without its second line."""
        npu_id, name, health = self._first or (None, "", "")
        self._first = None
        if npu_id is None or name.lower() in _CONTROLLERS:
            return
        lead = second.lead if second else []
        # 950 numbers cards only, and a missing line tells nothing: count them
        chip_id = int(lead[0]) if lead else sum(chip.npu_id == npu_id for chip in self.chips)
        used, total = _memory(second.cells[-1]) if second else (None, None)
        self.chips.append(
            ChipRow(
                npu_id=npu_id,
                chip_id=chip_id,
                name=name,
                health=health,
                memory_used_mb=used,
                memory_total_mb=total,
            )
        )

    def _refuse(self, line: _Line, expected: str) -> None:
        self.bad_lines.append(BadLine(number=line.number, text=line.text, expected=expected))

    def _is_second(self, line: _Line) -> bool:
        state = line.state.lower()
        if _BUS.fullmatch(state):
            return True
        words = [word for word in line.lead if word.lower() not in _NOT_AVAILABLE]
        if state in _HEALTHS or any(re.search("[A-Za-z]", word) for word in words):
            return False
        return self._first is not None or state in _NOT_AVAILABLE


def _memory(cell: str) -> tuple[int | None, int | None]:
    """Used and total; of DDR and HBM side by side the latter, which models live in."""
    pairs = _USED_OF_TOTAL.findall(cell)
    used, total = pairs[-1] if pairs else ("", "")
    # 0 of 0 is what an unanswered query leaves
    if not total.isdecimal() or int(total) == 0:
        return None, None
    return int(used) if used.isdecimal() else None, int(total)
