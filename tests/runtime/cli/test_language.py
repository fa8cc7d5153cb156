"""What commands print to people, in Chinese where that is asked for or is the locale's."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from builders import ROOT
from numpy.typing import NDArray

from runtime.cli.language import HERE, Words, padded, table_of
from runtime.detector import Detector
from runtime.infer.__main__ import main as infer
from runtime.many.summary import Summary


def sentences(path: Path) -> set[str]:
    """What a file says by `say("...")`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
            assert isinstance(node.args[0], ast.Constant)
            found.add(str(node.args[0].value))
    return found


def test_no_sentence_is_untranslated_and_no_translation_is_stale() -> None:
    """With the same values in both languages."""
    files = [path for room in ("runtime", "parity") for path in (ROOT / room).rglob("*.py")]
    written = set().union(*(sentences(p) for p in files if p.parent.name != "html"))
    chinese = table_of(HERE, "zh")

    assert set(chinese) == written
    for english, other in chinese.items():
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", other))
        assert re.search(r"[\u4e00-\u9fff]", other) or english.startswith(" ")
    with pytest.raises(KeyError):
        Words("zh")("A sentence that nobody has translated.")


@pytest.mark.parametrize(
    ("locale", "options", "is_chinese"),
    [
        ({"LC_ALL": "zh_CN.UTF-8"}, [], True),
        ({"LC_ALL": "", "LANG": "zh_TW"}, [], True),
        ({"LC_ALL": "", "LC_MESSAGES": "de_DE.UTF-8", "LANG": "zh_CN.UTF-8"}, [], False),
        ({"LC_ALL": "C"}, ["--lang", "zh"], True),
        ({"LC_ALL": "zh_CN.UTF-8"}, ["--lang", "en"], False),
        ({"LC_ALL": "zh_CN.UTF-8"}, ["--json"], False),
    ],
)
def test_infer_prints_in_the_language_of_its_user(
    detector: Detector,
    photo: NDArray[np.uint8],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    locale: dict[str, str],
    options: list[str],
    is_chinese: bool,
) -> None:
    """As the published port prints it; JSON has no language."""
    cv2.imwrite(str(tmp_path / "a.png"), photo)
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("runtime.infer.__main__._opened", lambda *_: detector)
    monkeypatch.setattr(Detector, "close", lambda _: None)
    given = ["--input", str(tmp_path / "a.png"), "--output", str(tmp_path / "b.png"), *options]
    assert infer(given) == 0
    said = capsys.readouterr().out

    if "--json" in options:
        assert json.loads(said)["size_wh"] == [1024, 768]
    elif is_chinese:
        labels = re.findall(r"(?m)^(.*?)\uff1a", said)
        assert labels == ["设备", "参数量", "图像", "关键点", "前 5 个关键点", "已保存"]
        assert "图像：" + f"{tmp_path}/a.png（1024x768）" in said  # noqa: RUF001  # Chinese
    else:
        assert said.startswith("Device: cpu (onnxruntime")


def test_a_summary_has_every_line_in_chinese() -> None:
    """Of a run that was resumed, with its rate."""
    summary = Summary(pictures=8, pictures_now=3, seconds_now=1.5, faces=9, saved=["r.csv"])

    assert summary.lines(Words("zh"))[0] == (
        "图像数：8（本次 3 张，用时 1.5 秒，每秒 2.0 张，此前已完成 5 张）"  # noqa: RUF001  # Chinese
    )
    assert summary.lines()[0] == "Pictures: 8 (3 now in 1.5 s, 2.0 a second and 5 before)"
    assert len(summary.lines(Words("zh"))) == len(summary.lines())


def test_columns_count_chinese_characters_twice() -> None:
    """A table's figures stand below their heads in both languages."""
    assert padded("平均", 6) == "平均  "
    assert padded("平均", 6, right=True) == "  平均"
    assert padded("longer", 2) == "longer"
