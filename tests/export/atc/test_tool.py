"""Which options an atc has, found before the export: its help, its parser, and what each proves.

Two helps are put together by hand, neither by the simulator's writer:

    2022   gflags prints it and exits 1: mindspore-ai/graphengine r1.11, 910/ge/offline/main.cc:221
           to 346 and 1431; gflags/gflags src/gflags_reporting.cc, ShowUsageWithFlagsMatching and
           HandleCommandLineHelpFlags; gflags.cc, ReportErrors, for unknown flags
    today  GE prints it and exits 0: hicann/ge api/atc/main_impl.cc:545 and 2352; cmd_flag_info.cc,
           ParseCommandLine, for unknown flags
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from atc_runs import FAILED, STARTS, conversion

from export.atc import tool as atc_tool
from export.atc.environment import DEVLIB
from export.atc.tool import check_tool
from runtime.errors import ConfigError, ExportError

BASIC = ("mode", "model", "framework", "input_format", "input_shape", "output", "soc_version")
HELPS = {
    "2022": f"""{STARTS}atc.bin: usage: ./atc <args>
make a model: ./atc --model=./net.prototxt --framework=0 --output=./net
===== Basic Functionality =====
[General]
  --h/help            Show this help message
{{options}}
  No modules matched: use -help
""",
    "today": f"""{STARTS}usage: atc <args>

===== Basic Functionality =====
[General]
  --h/help            Show this help message
{{options}}
""",
}
STATUS = {"2022": 1, "today": 0}


def checked(atc: Path, soc: str = "Ascend910B3", **table: object) -> tuple[str, ...]:
    return check_tool(atc, conversion(soc, **table))


class Atc:
    """An atc of ours: its help and status, the options its parser has, and which calls it got."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "atc"
        self._folder = folder

    def write(self, body: str) -> Path:
        calls = self._folder / "calls"
        self.path.write_text(f'#!/bin/sh\necho "$*" >> {calls}\n{body}\n')
        self.path.chmod(0o755)
        return self.path

    def of(self, year: str, *options: str, hidden: tuple[str, ...] = (), rc: int = -1) -> Path:
        """With the basic options and these; `hidden` ones are not in its help."""
        listed = "\n".join(f"  --{one:<18}  Set it" for one in (*BASIC, *options))
        text = self._folder / "help"
        text.write_text(HELPS[year].format(options=listed))
        names = "|".join(f"--{one}=*" for one in (*BASIC, *options, *hidden))
        return self.write(
            f'for word; do case "$word" in --help|{names}) ;; *)\n'
            'word="${word#--}"; echo "ERROR: unknown command line flag \'${word%%=*}\'" >&2\n'
            f"exit {1 if year == '2022' else 255} ;; esac; done\n"
            f"cat {text}; exit {STATUS[year] if rc < 0 else rc}"
        )

    @property
    def calls(self) -> list[str]:
        return (self._folder / "calls").read_text().splitlines()


@pytest.fixture
def atc(tmp_path: Path) -> Atc:
    return Atc(tmp_path)


@pytest.mark.parametrize("year", HELPS)
@pytest.mark.parametrize("rc", [0, 1, 3])
def test_an_option_in_the_help_is_there_whatever_the_status(atc: Atc, year: str, rc: int) -> None:
    """One call is enough."""
    tool = atc.of(year, "precision_mode_v2", "keep_dtype", "op_precision_mode", rc=rc)
    assert checked(tool, precision_mode_v2="origin") == ()
    assert atc.calls == ["--help"]


@pytest.mark.parametrize("year", HELPS)
def test_an_option_that_neither_help_nor_parser_has_is_refused(atc: Atc, year: str) -> None:
    with pytest.raises(ConfigError) as told:
        checked(atc.of(year), "Ascend310P3", precision_mode_v2="fp16")
    assert told.value.where == "atc --precision_mode_v2"
    assert told.value.action == "Take precision_mode = force_fp16"
    assert atc.calls == ["--help", "--precision_mode_v2=fp16 --help"]


@pytest.mark.parametrize("year", HELPS)
def test_an_option_that_the_help_alone_lacks_is_used(atc: Atc, year: str) -> None:
    """What no public source shows of a release between these two, its own parser does."""
    tool = atc.of(year, hidden=("precision_mode_v2",))
    assert checked(tool, "Ascend310P3", precision_mode_v2="fp16") == ()


def test_an_option_after_the_dashes_is_passed_on_with_a_warning(atc: Atc) -> None:
    passed_on = ("--jit_compile=1", "--virtual_type=0")
    tool = atc.of("2022", "jit_compile")
    (warning,) = checked(tool, "Ascend910B3vir05_1c_16g", passed_on=passed_on)
    assert "--virtual_type" in warning
    assert atc.calls == ["--help"]


@pytest.mark.parametrize(
    ("soc", "table", "where", "action"),
    [
        (
            "Ascend910B3vir05_1c_16g",
            {},
            "atc --virtual_type",
            r"910B3vir05_1c_16g, a slice: .*newer CANN, .*--soc_version Ascend910B3$",
        ),
        (
            "Ascend910B3",
            {"precision_mode": "must_keep_origin_dtype"},
            "atc --op_precision_mode",
            r"precision_mode=must_keep_origin_dtype, whose .*HF32.*= allow_mix_precision$",
        ),
        ("Ascend910B3", {"op_precision_mode": "mine.ini"}, "atc --op_precision_mode", "Leave it"),
        ("Ascend310P3", {"precision_mode_v2": "origin"}, "atc --precision_mode_v2", "must_keep"),
        ("Ascend310P3", {"output_type": "FP16"}, "atc --output_type", "^Leave it out"),
    ],
)
def test_the_remedy_fits_an_option_that_the_user_did_not_give(
    atc: Atc, soc: str, table: dict[str, str], where: str, action: str
) -> None:
    """A slice's name and a mode bring options of their own, which nobody can leave out."""
    with pytest.raises(ConfigError) as told:
        checked(atc.of("2022"), soc, **table)
    assert told.value.where == where
    assert re.search(action, told.value.action)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("exit 0", "exited 0 .*no output"),
        (f"echo '{STARTS}{FAILED}'; echo 'E10054: that is empty'; exit 255", "E10054"),
        ("echo 'usage: pyatc [options]'; exit 2", "exited 2"),
        ("kill -11 $$", "exited -11"),
    ],
)
def test_an_atc_without_help_is_used_with_a_warning(atc: Atc, body: str, why: str) -> None:
    """Its conversion ends within a second where a flag is unknown; nothing is refused here."""
    table = {"precision_mode_v2": "fp16", "output_type": "FP16"}
    (warning,) = checked(atc.write(body), "Ascend310P3", **table)
    assert re.search(why, warning)
    assert "--precision_mode_v2, --output_type" in warning


@pytest.mark.slow
def test_a_help_that_was_cut_off_refuses_nothing(atc: Atc, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow box: what is missing may have come after the limit."""
    monkeypatch.setattr(atc_tool, "HELP_TIMEOUT_S", 2.0)
    tool = atc.write(f"echo '{STARTS}  --model    The model'; sleep 600")
    (warning,) = checked(tool, "Ascend310P3", precision_mode_v2="fp16")
    assert "has not ended" in warning
    assert "--precision_mode_v2" in warning


@pytest.mark.parametrize("status", [126, 127])
def test_an_atc_that_does_not_start_is_explained(atc: Atc, status: int) -> None:
    """The loader's own word, before anything is exported; and how to export all the same."""
    tool = atc.write(
        "echo 'atc.bin: error while loading shared libraries: libascend_hal.so: cannot open shared"
        f" object file: No such file or directory' >&2\nexit {status}"
    )
    with pytest.raises(ExportError) as told:
        checked(tool, precision_mode_v2="fp16")
    assert "libascend_hal.so was not found" in str(told.value)
    assert DEVLIB in str(told.value)
    assert "--om never" in str(told.value)


def test_nothing_is_asked_for_a_conversion_that_every_atc_can_do(atc: Atc) -> None:
    assert checked(atc.write("exit 9"), "Ascend310P3", aipp=True) == ()
    assert not atc.path.with_name("calls").exists()
