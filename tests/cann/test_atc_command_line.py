"""The simulated atc: what it prints, its grammar, and the order in which it checks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cann import graphs
from cann.atc_driver import ABSENT, Run, attributes, conversion, run
from cann.atc_simulator.command import FAILED, STARTS, SUCCEEDED
from cann.atc_simulator.messages import CATALOGUE
from cann.plugin import Cann
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with model.onnx; no setting of the simulator is inherited."""
    for name in ("CANNSIM_CANN", "CANNSIM_FAULT", "CANNSIM_SUFFIX", "CANNSIM_ATC_SECONDS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ASCEND_WORK_PATH", raising=False)
    monkeypatch.chdir(tmp_path)
    graphs.save(tmp_path, graphs.conv())
    (tmp_path / "empty.txt").touch()
    return tmp_path


def test_success_prints_atcs_lines_and_writes_the_om(folder: Path) -> None:
    done = run(*conversion())

    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0] == STARTS
    assert lines[1] == "..."
    assert lines[2] == SUCCEEDED
    assert "simulated" in done.out
    assert (folder / "net.om").is_file()


def test_failure_prints_atcs_lines_on_stdout_and_exits_255() -> None:
    done = run(*conversion(soc_version=""))

    assert done.status == 255
    assert done.err == ""
    assert done.out.splitlines()[:3] == [STARTS, "...", FAILED]
    assert re.search(
        r"^\[PID: \d+\] \d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{3}\.\d{3} Invalid_Argument\(E10054\): "
        r"The required parameter --soc_version for ATC is empty",
        done.out,
        re.MULTILINE,
    )
    block = done.out.split(FAILED)[1].strip().splitlines()
    assert all("simulated" in line or line.endswith("call last):") for line in block)
    assert all(line.startswith("        ") for line in block[1:])


def test_error_blocks_look_as_the_release_prints_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANNSIM_CANN", "6.0")
    assert re.search(r"^E10054: The required", run(*conversion(model="")).out, re.MULTILINE)
    monkeypatch.setenv("CANNSIM_CANN", "8.0.0")
    stamped = run(*conversion(model="")).out
    assert re.search(r"^E10054: \[PID: \d+\] \S+ The required", stamped, re.MULTILINE)


def test_help_lists_the_options_and_succeeds() -> None:
    for word in ("--help", "-h", "-help", "--hel"):
        done = run(word)
        assert done.status == 0, word
        assert "--precision_mode_v2" in done.out


def test_old_releases_print_help_with_gflags_and_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/export/atc/test_tool.py holds its form to the public source."""
    monkeypatch.setenv("CANNSIM_CANN", "6.0")
    for word in ("--help", "-h", "-help"):
        done = run(word)
        assert done.status == 1, word
        assert "--op_precision_mode" in done.out.split()
        assert not {"--precision_mode_v2", "--virtual_type"} & set(done.out.split())
    assert "unknown command line flag 'hel'" in run("--hel").err


def test_old_releases_do_not_know_precision_mode_v2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANNSIM_CANN", "6.0")
    done = run(*conversion(precision_mode_v2="origin"))

    assert done.status == 1
    assert FAILED not in done.out
    assert "unknown command line flag 'precision_mode_v2'" in done.err


@pytest.mark.parametrize(
    "spelling",
    [
        ["--soc_version=Ascend310P3"],
        ["--soc_version", "Ascend310P3"],
        ["-soc_version", "Ascend310P3"],
        ["--soc-version=Ascend310P3"],
        ["-soc-version=Ascend310P3"],
        ["--soc=Ascend310P3"],
    ],
    ids=" ".join,
)
def test_flags_may_be_spelled_as_getopt_allows(folder: Path, spelling: list[str]) -> None:
    done = run(*conversion(soc_version=ABSENT), *spelling)

    assert done.status == 0, done.out + done.err
    assert attributes(folder / "net.om")["soc_version"] == "Ascend310P3"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--colour=red"], "ERROR: unknown command line flag 'colour'"),
        (["-x"], "ERROR: unknown command line flag 'x'"),
        (["--precision=fp16"], "ERROR: unknown command line flag 'precision'"),  # ambiguous
        (["--log"], "ERROR: flag '--log' is missing its argument"),
        (["stray"], "ERROR: Non-option parameter: stray"),
        (["--", "--log=error"], "ERROR: Non-option parameter: --log=error"),
    ],
    ids=str,
)
def test_grammar_errors_go_to_stderr_too(words: list[str], complaint: str) -> None:
    """And no line of dots is printed: nothing was tried."""
    done = run(*conversion(), *words)

    assert done.status == 255
    assert complaint in done.err
    assert FAILED in done.out
    assert "..." not in done.out.splitlines()
    assert done.code == "E19999"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"framework": "7"}, "E10007"),
        ({"mode": "2"}, "E10001"),
        ({"log": "loud"}, "E10010"),
        ({"deterministic": "2"}, "E10006"),
        ({"external_weight": "3"}, "E10006"),
        ({"disable_reuse_memory": "yes"}, "E10006"),
        ({"virtual_type": "2"}, "E10001"),
        ({"op_debug_level": "9"}, "E10001"),
        ({"buffer_optimize": "off"}, "E10001"),
        ({"op_compiler_cache_mode": "on"}, "E10001"),
        ({"op_select_implmode": "fast"}, "E10001"),
        ({"core_type": "aicore"}, "E10001"),
        ({"precision_mode": "fp16"}, "E10001"),
        ({"precision_mode_v2": "force_fp16"}, "E10001"),
        ({"sparsity": "1" * 20}, "E10006"),
        ({"help": "perhaps"}, "E10003"),
    ],
    ids=str,
)
def test_values_are_checked_while_parsing(options: dict[str, str], code: str) -> None:
    done = run(*conversion(model="no/such/file", **options))

    assert done.code == code
    assert "..." not in done.out.splitlines()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"framework": ABSENT}, "E10007"),
        ({"framework": "0"}, "E10008"),
        ({"framework": "3"}, "E10055"),
        ({"soc_version": "Ascend035"}, "E10055"),
        ({"mode": "30"}, "E10055"),
        ({"mode": "3"}, "E10055"),
        ({"mode": "1"}, "E10004"),
        ({"mode": "6", "framework": ABSENT}, "E10004"),
        ({"mode": "6", "om": "model.onnx"}, "E10057"),
        ({"mode": "6", "om": "model.onnx", "framework": ABSENT}, "E10001"),
        ({"mode": "6", "om": "gone.om", "framework": ABSENT}, "E10001"),
        ({"auto_tune_mode": "RL"}, "E10001"),
        ({"input_format": "NHWC"}, "E10001"),
        ({"soc_version": ""}, "E10054"),
        ({"output": ""}, "E10054"),
        ({"model": ""}, "E10054"),
        ({"model": "gone.onnx"}, "E10001"),
        ({"output": "folder/"}, "E10022"),
        ({"output": "n" * 5000}, "E10021"),
        ({"output": "a b"}, "E10001"),
        ({"output": "model.onnx/net"}, "E10001"),
        ({"optypelist_for_implmode": "Sigmoid"}, "E10001"),
        ({"op_precision_mode": "gone.ini"}, "E10001"),
        ({"is_weight_clip": "2"}, "E10006"),
        ({"precision_mode": "force_fp16", "precision_mode_v2": "fp16"}, "E10056"),
        ({"modify_mixlist": "empty.txt"}, "E10001"),
        ({"modify_mixlist": "empty.txt", "precision_mode_v2": "fp16"}, "E10001"),
        ({"modify_mixlist": "empty.txt", "precision_mode_v2": "mixed_float16"}, "E21002"),
        ({"dynamic_dims": "1;2", "insert_op_conf": "empty.txt", "input_format": "ND",
          "input_shape": "image:-1,3,8,8"}, "E10001"),
        ({"insert_op_conf": "gone.cfg"}, "E10001"),
        ({"enable_compress_weight": "1"}, "E10005"),
        ({"enable_compress_weight": "true", "compress_weight_conf": "empty.txt"}, "E10047"),
        ({"keep_dtype": "gone.txt"}, "E10001"),
        ({"customize_dtypes": "gone.txt"}, "E10001"),
        ({"save_original_model": "1"}, "E10005"),
        ({"save_original_model": "true"}, "E10055"),
        ({"allow_hf32": "1"}, "E10005"),
        ({"ac_parallel_enable": "true"}, "E10006"),
        ({"soc_version": "ascend910b3"}, "EE1011"),
        ({"soc_version": "Ascend910"}, "EE1011"),
        ({"soc_version": "910B3"}, "EE1011"),
        ({"soc_version": "Ascend950XX"}, "EE1011"),
        ({"debug_dir": "gone"}, "E10001"),
        ({"op_compiler_cache_dir": "gone"}, "E10001"),
        ({"external_weight": "1"}, "E10055"),
        ({"model": "."}, "E13001"),
        ({"model": "empty.txt"}, "E13015"),
    ],
    ids=str,
)  # fmt: skip
def test_each_wrong_option_has_its_code(options: dict[str, str], code: str, folder: Path) -> None:
    done = run(*conversion(**options))

    assert done.code == code, done.out + done.err
    assert done.status == 255
    assert not list(folder.glob("**/*.om"))


ORDER: list[tuple[dict[str, str], str]] = [
    ({"auto_tune_mode": "RL"}, "The Auto Tune function"),
    ({"framework": ABSENT}, "--framework is required"),
    ({"input_format": "NHWC"}, "only support NCHW"),
    ({"soc_version": ""}, "--soc_version for ATC is empty"),
    ({"output": ""}, "--output for ATC is empty"),
    ({"model": ""}, "--model for ATC is empty"),
    ({"model": "gone.onnx"}, "parameter --model is invalid"),
    ({"output": "folder/"}, "does not include the file name"),
    ({"optypelist_for_implmode": "Exp"}, "set at the same time"),
    ({"op_precision_mode": "gone.ini"}, "parameter --op_precision_mode is invalid"),
    ({"is_weight_clip": "2"}, "--is_weight_clip"),
    ({"precision_mode": "force_fp16", "precision_mode_v2": "fp16"}, "simultaneously"),
    ({"modify_mixlist": "empty.txt"}, "Modify_mixlist is set"),
    ({"dynamic_batch_size": "1,2", "input_shape": ""}, "--input_shape is empty"),
    ({"insert_op_conf": "gone.cfg"}, "parameter --insert_op_conf is invalid"),
    ({"enable_compress_weight": "1"}, "--enable_compress_weight"),
    ({"keep_dtype": "gone.txt"}, "parameter --keep_dtype is invalid"),
    ({"allow_hf32": "1"}, "--allow_hf32"),
    ({"soc_version": "Ascend911"}, "Ascend911"),
    ({"input_shape": "image:1,3,0,8"}, "positive integers"),
    ({"model": "empty.txt"}, "valid range"),
]


@pytest.mark.parametrize("position", range(len(ORDER) - 1))
def test_the_earlier_of_two_faults_is_named(position: int) -> None:
    """The order of the checks is atc's own."""
    options, complaint = ORDER[position]
    for later, _ in ORDER[position + 1 :]:
        if set(later) & set(options):
            continue
        done = run(*conversion(**{**later, **options}))
        assert complaint in done.out.split("TraceBack")[0], (options, later, done.out)


def test_a_mixed_mode_may_change_the_lists(folder: Path) -> None:
    (folder / "mix.json").write_text('{"black-list": {"to-add": ["Conv2D"]}}')
    done = run(*conversion(modify_mixlist="mix.json", precision_mode_v2="mixed_float16"))

    assert done.status == 0, done.out


def test_the_name_om_is_always_appended(folder: Path) -> None:
    assert run(*conversion(output="deep/er/net.om")).status == 0
    assert [p.name for p in (folder / "deep/er").iterdir()] == ["net.om.om"]


def test_of_the_model_the_real_path_counts_and_of_the_output_the_given_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hicann/ge base/common/util.cc, CheckInputPathValid and CheckOutputPathValid."""
    odd = folder / "two words"
    odd.mkdir()
    graphs.save(odd, graphs.conv())
    assert run(*conversion(output="two words/net")).code == "E10001"
    assert run(*conversion(output="a+b")).code == "E10001"
    (folder / "link").symlink_to(odd)
    assert run(*conversion(output="link/net")).status == 0
    monkeypatch.chdir(odd)
    done = run(*conversion())
    assert done.code == "E10001"
    assert "--model" in done.out


def test_a_host_library_gives_the_file_a_suffix(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANNSIM_SUFFIX", "1")
    assert run(*conversion()).status == 0
    assert [p.name for p in folder.glob("*.om")] in (
        ["net_linux_x86_64.om"],
        ["net_linux_aarch64.om"],
    )


def test_conversion_litters_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the real one does; --debug_dir and ASCEND_WORK_PATH move it."""
    assert run(*conversion()).status == 0
    assert {"kernel_meta", "fusion_result.json"} <= {p.name for p in folder.iterdir()}

    (folder / "work").mkdir()
    (folder / "debug").mkdir()
    monkeypatch.setenv("ASCEND_WORK_PATH", "work")
    assert run(*conversion(debug_dir="debug")).status == 0
    assert (folder / "work/fusion_result.json").is_file()
    assert (folder / "debug/kernel_meta").is_dir()


def test_mode_6_and_display_model_info_show_the_same_block() -> None:
    def block(done: Run) -> list[str]:
        lines = done.out.splitlines()
        return [line for line in lines if "info:" in line or line.startswith("Original")]

    built = run(*conversion(display_model_info="1"))
    shown = run("--mode=6", "--om=net.om")

    assert shown.status == 0
    assert block(built) == block(shown)
    assert len(block(shown)) == 4
    assert "soc_version[Ascend910B3], framework_type[Onnx]." in shown.out
    assert f"Original Atc command line: atc {' '.join(conversion())}" in shown.out


def test_mode_6_refuses_a_damaged_file(folder: Path) -> None:
    run(*conversion())
    content = (folder / "net.om").read_bytes()
    for damaged in (content[:-1], content[:100], b"x" + content[1:]):
        (folder / "net.om").write_bytes(damaged)
        assert run("--mode=6", "--om=net.om").code == "E10001"


def test_every_code_has_a_text_that_can_be_filled() -> None:
    for code, entry in CATALOGUE.items():
        names = re.findall(r"\{(\w+)\}", entry["text"])
        assert entry["text"].format(**dict.fromkeys(names, "x")), code


SHAPE_AND_FILE_FLAGS = (
    *("soc_version", "input_shape", "input_shape_range", "dynamic_batch_size", "mode", "om"),
    *("dynamic_image_size", "dynamic_dims", "out_nodes", "output_type", "keep_dtype"),
    *("input_fp16_nodes", "insert_op_conf", "precision_mode_v2", "input_format"),
)
WORDS = st.one_of(
    st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"), max_size=12),
    st.sampled_from(["--model=model.onnx", "--framework=5", "--output=net", "-h", "--", "-"]),
    st.builds(
        "--{}={}".format,
        st.sampled_from(SHAPE_AND_FILE_FLAGS),
        st.one_of(
            st.text(alphabet="image:;,-~[]0123.", max_size=20),
            st.sampled_from(["image:1,3,8,8", "image:-1,3,8,8", "model.onnx", "1,2", "ND"]),
        ),
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    words=st.lists(WORDS, max_size=6),
    base=st.sampled_from([[], conversion(), conversion(soc_version=ABSENT)]),
)
def test_any_command_line_ends_in_one_of_three_ways(words: list[str], base: list[str]) -> None:
    """Success, usage, or the failure line with a code; never a traceback."""
    done = run(*base, *words)

    if done.status == 0:
        assert SUCCEEDED in done.out or "usage: atc" in done.out
    else:
        assert done.status == 255
        assert FAILED in done.out
        assert done.code in CATALOGUE


def test_the_executable_runs_from_any_folder(cann: Cann, folder: Path) -> None:
    """Through PATH, as the product will call it."""
    done = subprocess.run(
        ["atc", *conversion(output=str(folder / "by_path"))],
        capture_output=True,
        text=True,
        check=False,
        env=cann.env,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "by_path.om").is_file()
    assert done.stderr == ""


def test_the_fixture_looks_like_a_sourced_cann(cann: Cann) -> None:
    """PATH, prefix and version; what is set shows in this process."""
    assert shutil.which("atc") == str(cann.atc)
    assert os.environ["ASCEND_HOME_PATH"] == str(cann.prefix)
    assert Path(os.environ["ASCEND_OPP_PATH"]).is_dir()
    (info,) = cann.prefix.glob("*-linux/ascend_toolkit_install.info")
    assert "\nversion=8.5.0\n" in info.read_text()

    cann.set_version("6.0")
    cann.set_fault("atc:exit=3")
    cann.set_soc("Ascend310P3", devices=2)
    assert "\nversion=6.0\n" in info.read_text()
    assert cann.env["CANNSIM_FAULT"] == "atc:exit=3"
    assert (cann.env["CANNSIM_SOC"], cann.env["CANNSIM_DEVICES"]) == ("Ascend310P3", "2")
    assert run(*conversion()).status == 3
    cann.set_fault()
    assert "CANNSIM_FAULT" not in os.environ


def test_nothing_outside_the_tests_knows_the_simulator() -> None:
    """No source names it, or the variables that steer it."""
    root = Path(__file__).resolve().parents[2]
    for room in ("runtime", "parity", "export", "scripts"):
        for path in (root / room).rglob("*.py"):
            text = path.read_text()
            assert "CANNSIM" not in text, path
            assert "atc_simulator" not in text, path
