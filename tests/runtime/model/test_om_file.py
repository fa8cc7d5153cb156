"""An .om's own words: read from both layouts, and no byte of it believed without a check."""

from __future__ import annotations

import io
import random
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from cann.ge_format import table
from cann.om_writer import Age, Scalar, delimited, model_def, varint, with_header, write_om
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import ArtifactError
from runtime.model.om_file import OmFile, read_om, read_om_from

ATTRIBUTES: dict[str, Scalar] = {
    "soc_version": "Ascend910B3",
    "arch_type": "2",
    "atc_version": "8.5.0.simulated",
    "atc_cmdline": "atc --model=model.onnx --framework=5 --soc_version=Ascend910B3",
    "framework_type": "Onnx",
    "memory_size": 9_000_000_000,
    "weight_size": 5_242_880,
    "stream_num": 1,
    "event_num": 0,
}
MUTATIONS = 10_000
SLOWEST_S = 1.0


class WatchedFile(io.BytesIO):
    """Fails a test that reads past the end, or without saying how much; counts what was read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.length = len(content)
        self.bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 <= size <= self.length - self.tell()
        self.bytes_read += size
        return super().read(size)


def om_bytes(folder: Path, **changes: object) -> bytes:
    path = folder / "made.om"
    asked: dict[str, object] = {
        "name": "starmark",
        "attributes": ATTRIBUTES,
        "partitions": {1: b"weights " * 16, 3: b"kernels"},
        **changes,
    }
    write_om(path, **asked)  # type: ignore[arg-type]  # the writer's own keywords
    return path.read_bytes()


def with_model_def(definition: bytes) -> bytes:
    return with_header(table([(0, definition)]), "starmark")


def read(content: bytes) -> OmFile:
    return read_om_from(Path("m.om"), WatchedFile(content), len(content))


def patched(content: bytes, at: int, form: str, *values: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, at, *values)
    return bytes(changed)


AGES: tuple[Age, ...] = ("today", "2021", "2020")


@pytest.mark.parametrize("age", AGES)
def test_parts_lie_where_they_are_said_to_lie(tmp_path: Path, age: Age) -> None:
    """Entries of 24 bytes, and of 12 before; the facts in them are test_om_format's."""
    content = om_bytes(tmp_path, name="starmark_" + "x" * 40, age=age)
    om = read_om(tmp_path / "made.om")

    assert (om.path, om.bytes, om.age) == (tmp_path / "made.om", len(content), age)
    assert om.name == "starmark_" + "x" * 40  # whole, not the header's 31 bytes
    assert (om.attributes, om.models[0].other_attributes) == (ATTRIBUTES, ())
    weights = om.partitions[1]
    assert content[weights.offset : weights.offset + weights.size] == b"weights " * 16
    assert om.partitions[-1].offset + om.partitions[-1].size == len(content)


scalars = (
    st.text(max_size=40)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(width=32, allow_nan=False)
    | st.booleans()
)


@given(st.dictionaries(st.text(max_size=12), scalars, max_size=8), st.binary(max_size=64))
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
def test_every_scalar_comes_back(attributes: dict[str, Scalar], graph: bytes) -> None:
    """Text, int64, float32, truth; a graph of any bytes is stepped over."""
    # those with a type of their own have their own test
    attributes = {key: value for key, value in attributes.items() if key not in ATTRIBUTES}
    om = read(with_model_def(model_def("m", attributes, graph)))

    assert om.attributes == attributes
    assert [type(one) for one in om.attributes.values()] == [type(v) for v in attributes.values()]
    assert (om.soc_version, om.framework_type) == ("", "")
    # unless it begins like a graph, what the graph holds is nobody's business here
    assert all(one.startswith("inputs and outputs: ") for one in om.unread)


def test_last_of_equal_keys_counts() -> None:
    """As in any protobuf map, and likewise inside the entry and the value."""
    twice = model_def("m", {"soc_version": "Ascend310"}) + model_def("n", {"soc_version": "B"})
    value = delimited(2, b"first") + delimited(2, b"last")
    inside = delimited(11, delimited(1, b"k") + delimited(2, b"") + delimited(2, value))

    assert read(with_model_def(twice)).soc_version == "B"
    assert read(with_model_def(twice)).name == "n"
    assert read(with_model_def(inside)).attributes == {"k": "last"}


def test_what_is_no_scalar_is_named() -> None:
    """Lists, tensors, and texts longer than anybody wants to read."""
    listed = delimited(11, delimited(1, b"om_info_list") + delimited(2, delimited(1, b"\x38\x01")))
    om = read(with_model_def(listed + model_def("m", {"long": "x" * (2**20 + 1), "i": 1})))

    assert om.models[0].other_attributes == ("om_info_list", "long")
    assert om.attributes == {"i": 1}


def test_bytes_that_are_no_text_stay_visible() -> None:
    """In the attributes and in the header."""
    value = delimited(2, b"Ascend\xff")
    entry = delimited(11, delimited(1, b"soc_version") + delimited(2, value))
    content = bytearray(with_model_def(entry))
    content[84:90] = b"na\xfeme\0"
    content[160:180] = b"1.11.z.0 of 20 bytes"

    assert read(bytes(content)).platform_version == "1.11.z.0 of 20 bytes"
    assert read(bytes(content)).soc_version == "Ascend\\xff"
    assert read(bytes(content)).name == "na\\xfeme"


def test_marks_of_the_header_are_facts(tmp_path: Path) -> None:
    """The layout of 2021 has no mark of dynamic shapes; GE's loader passes over encryption's."""
    assert read(om_bytes(tmp_path, is_unknow_model=1)).is_dynamic is True
    # where the mark is today
    assert read(patched(om_bytes(tmp_path, age="2021"), 193, "B", 1)).is_dynamic is False
    om = read(patched(om_bytes(tmp_path), 80, "B", 3))
    assert (om.is_encrypted, om.soc_version, om.unread) == (True, "Ascend910B3", ())


@pytest.mark.parametrize(
    ("value", "name", "remarks"),
    [
        ("Onnx", "Onnx", 0),
        (5, "Onnx", 0),
        (3, "TensorFlow", 0),
        ("5", "5", 0),
        (0, "Caffe", 0),
        *((unknown, "", 1) for unknown in (7, True, 5.0)),
    ],
)
def test_framework_is_named_whatever_its_type(value: Scalar, name: str, remarks: int) -> None:
    """Text in every real file; it only informs: an unknown one is no reason to refuse a file."""
    om = read(with_model_def(model_def("m", {"framework_type": value, "stream_num": 3})))

    assert (om.framework_type, om.stream_num) == (name, 3)
    assert (om.unread, len(om.remarks)) == ((), remarks)


def test_fewer_models_than_the_header_counts_is_said(tmp_path: Path) -> None:
    """What is there is given."""
    om = read(patched(om_bytes(tmp_path), 156, "<I", 3))

    assert (om.soc_version, len(om.models)) == ("Ascend910B3", 1)
    assert om.unread[0].startswith("model 2 of 3: ")
    assert read(patched(om_bytes(tmp_path), 156, "<I", 0)).model_num == 1
    many = read(with_header(table([(0, b"")]) * 4097, "m", model_num=4097))
    assert len(many.models) == 4096
    assert many.unread[0] == "the header counts 4,097 models; 4,096 were read"


@pytest.mark.parametrize(("model_type", "kind"), [(3, "flow"), (4, "lite"), (5, "bundle")])
def test_container_is_named_and_its_parts_are_listed(
    tmp_path: Path, model_type: int, kind: str
) -> None:
    """GE lays them out as any other file."""
    content = om_bytes(tmp_path, modeltype=model_type)
    om = read(content)

    assert (om.kind, om.name, len(om.partitions)) == (kind, "starmark", 3)
    # of 2021, as only the header's short length tells: a flow model's entries were wide even then
    old = read(patched(patched(content, 184, "<Q", 0), 76, "<I", len(content) - 256))
    assert (old.age, bool(old.unread)) == ("2021", kind != "flow")


FOREIGN = {
    b"": "an empty file",
    bytes(5000): "zeros, as an interrupted copy leaves them",
    b"\x08\x07\x12\x08starmark": "an ONNX model",
    b"PK\x03\x04" + bytes(300): "a zip archive",
    b"\x7fELF\x02\x01": "an ELF program or library",
    b"<!DOCTYPE html><html>": "an HTML page",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0": "a Git LFS pointer",
    b"PICO" + bytes(300): "an .om for Smart Vision chips",
    "用法: 见说明\n".encode() * 60: "text",
    b'{"a": 1}': "JSON text",
    b"\x80\x04\x95": "a Python pickle",
    b"\xde\xad\xbe\xef" * 9: "unknown bytes that begin with de ad be ef de ad be ef",
}


@pytest.mark.parametrize(("content", "says"), FOREIGN.items(), ids=list(FOREIGN.values()))
def test_foreign_file_is_named_for_what_it_is(tmp_path: Path, content: bytes, says: str) -> None:
    """One line that says what the file seems to be instead."""
    path = tmp_path / "m.om"
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        read_om(path)

    assert str(caught.value).startswith(f"{path}: expected an .om file as atc writes it, got ")
    assert f"got {says}" in str(caught.value)


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut header": (lambda c: c[:200], "more than the header's 256 bytes, got 200"),
    "truncated": (lambda c: c[:-1], "it is truncated"),
    "appended": (lambda c: c + b"\0", "something was appended"),
    "length": (lambda c: patched(c, 184, "<Q", 2**64 - 1), f"expected {2**64 + 255} bytes"),
}


@pytest.mark.parametrize(("change", "says"), DAMAGE.values(), ids=DAMAGE)
def test_file_of_another_length_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], says: str
) -> None:
    """As the loader does, and with the number that breaks it."""
    with pytest.raises(ArtifactError) as caught:
        read(change(om_bytes(tmp_path)))
    assert says in str(caught.value)


# what the loader does not look at, or reads otherwise than we do, refuses nothing
UNREAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no entries": (lambda c: patched(c, 256, "<I", 0), "a table of 0 partitions"),
    "many entries": (lambda c: patched(c, 256, "<I", 4097), "a table of 4097 partitions, where 1"),
    "long table": (lambda c: patched(c, 256, "<I", 4096), "4096 partitions that ends after"),
    "size": (
        lambda c: patched(c, 264 + 16, "<Q", 2**64 - 1),
        "of 18446744073709551615 bytes",
    ),
    "sum": (lambda c: patched(c, 264 + 48 + 16, "<Q", 8), "partition 2 (TBE_KERNELS) of 8 bytes"),
    "rest": (lambda c: patched(c, 264 + 48 + 16, "<Q", 5), "2 bytes follow the last partition"),
    "no MODEL_DEF": (lambda c: patched(c, 264, "<I", 7), "0 partitions MODEL_DEF"),
    "two of them": (lambda c: patched(c, 264 + 24, "<I", 0), "2 partitions MODEL_DEF"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_cannot_be_read_is_named_and_refuses_nothing(tmp_path: Path, name: str) -> None:
    """Every bound of header and table: after a conversion that succeeded, the file stands."""
    change, says = UNREAD[name]
    content = om_bytes(tmp_path)
    assert read(content).unread == ()  # the control
    om = read(change(content))

    assert any(says in one for one in om.unread), om.unread
    if "MODEL_DEF" in name or "entr" in name or name in ("size", "long table"):
        assert (om.soc_version, om.stream_num) == ("", None)


UNUSUAL: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "header size": (lambda c: patched(c, 4, "<I", 255), "its own size as 255, not 256"),
    "model type": (lambda c: patched(c, 82, "B", 9), "model type 9"),
    "overlap": (lambda c: patched(c, 264 + 24 + 8, "<Q", 3), "offsets are not where"),
    "gap": (lambda c: patched(c, 264 + 8, "<Q", 1), "offsets are not where"),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_the_loader_passes_over_is_a_remark(tmp_path: Path, name: str) -> None:
    """All of the file is read."""
    change, says = UNUSUAL[name]
    om = read(change(om_bytes(tmp_path)))

    assert (om.unread, len(om.remarks)) == ((), 1)
    assert says in om.remarks[0]
    assert (om.soc_version, om.stream_num, len(om.partitions)) == ("Ascend910B3", 1, 3)


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        (b"\x0b\x0c", "protobuf wire type 3"),
        (b"\x58\x01", "wire type 0 for 2 in protobuf field 11"),
        (delimited(11, varint(1 << 3) + b"\x00"), "wire type 0 for 2 in protobuf field 1"),
        (delimited(11, delimited(2, varint(2 << 3) + b"\x00")), "for 2 in protobuf field 2"),
        (delimited(11, delimited(2, delimited(3, b"5"))), "for 0 in protobuf field 3"),
        (delimited(1, b"n" * 1025), "a name of 1025 bytes, where 1024 are possible"),
        (model_def("m", {"soc_version": 7, "event_num": True}), "attribute soc_version is 7"),
        (model_def("m", {"stream_num": "1"}), "attribute stream_num is '1'"),
        (model_def("m", {str(i): i for i in range(4097)}), "more than 4096 attributes"),
        (model_def("m", {str(i): "x" * 2**20 for i in range(17)}), "16777216 bytes"),
    ],
)
def test_damaged_model_definition_is_unknown(definition: bytes, says: str) -> None:
    """Groups, wrong wire types, names and numbers of attributes beyond reason."""
    om = read(with_model_def(definition))

    assert any(says in one for one in (*om.unread, *om.remarks))
    assert (om.soc_version, om.stream_num, om.event_num) == ("", None, None)


def test_one_bad_attribute_hides_no_other() -> None:
    """The chip is still there to be compared, wherever the bad one stands."""
    bad = delimited(11, delimited(1, b"k" * 1025) + delimited(2, delimited(2, b"v")))
    definition = model_def("m", {"soc_version": "Ascend310P3"}) + bad
    for whole in (definition, bad + definition):
        om = read(with_model_def(whole))
        assert (om.soc_version, om.name) == ("Ascend310P3", "m")
        assert "a name of 1025 bytes" in om.unread[0]


def test_packed_numbers_cost_what_fields_cost() -> None:
    """Three megabytes of one-byte numbers are refused before they take seconds."""
    packed = b"".join(delimited(3, b"\x01" * 65_536) for _ in range(15))
    entry = delimited(11, delimited(1, b"k") + delimited(2, delimited(1, packed)))
    start = time.process_time()
    om = read(with_model_def(entry * 3))

    assert time.process_time() - start < SLOWEST_S
    assert "protobuf fields" in om.unread[0]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """Absent, a folder, a name that cannot be."""
    for path, says in (
        (tmp_path / "gone.om", "no such file"),
        (tmp_path, "a folder"),
        (Path("nul\0.om"), "no such file"),
        (tmp_path / ("a" * 300), "File name too long"),
    ):
        with pytest.raises(ArtifactError, match=f"got {says}"):
            read_om(path)


@pytest.mark.parametrize("hidden_in", ["weights", "graph"])
def test_large_file_is_not_read_whole(hidden_in: str) -> None:
    """Weights and graph are stepped over, however large they are."""
    ballast = bytes(20_000_000)
    definition = model_def("m", ATTRIBUTES, ballast if hidden_in == "graph" else b"")
    weights = ballast if hidden_in == "weights" else b""
    content = with_header(table([(0, definition), (1, weights)]), "m")
    file = WatchedFile(content)
    om = read_om_from(Path("m.om"), file, len(content))

    assert om.soc_version == "Ascend910B3"
    assert file.bytes_read < 500_000


LENGTHS = (0, 1, 2, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32 - 1)


def mutate(rng: random.Random, content: bytes, age: Age = "today") -> bytes:
    """One hostile change: flips, a cut, a splice, or a length field; half with fitting totals."""
    changed = bytearray(content)
    kind = rng.randrange(5)
    if kind == 0:
        for _ in range(rng.randint(1, 8)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    elif kind == 1:
        del changed[rng.randrange(len(changed)) :]
    elif kind == 2:
        start, size = rng.randrange(len(content)), rng.randint(1, 64)
        at, gone = rng.randrange(len(changed)), rng.randint(0, 64)
        changed[at : at + gone] = content[start : start + size]
    elif kind == 3:
        at = rng.choice((4, 76, 80, 82, 156, 184, 188, 256, *range(264, 336, 4)))
        struct.pack_into("<I", changed, at, rng.choice((*LENGTHS, len(content), len(content) + 1)))
    else:
        start = rng.randrange(256, len(changed))
        changed[start : start + 12] = b"\xff" * rng.randint(1, 12)
    if rng.random() < 0.5 and len(changed) > 256:  # so that what lies behind the check is reached
        struct.pack_into("<I", changed, 76, len(changed) - 256)
        struct.pack_into("<Q", changed, 184, len(changed) - 256 if age == "today" else 0)
    return bytes(changed)


@pytest.mark.parametrize("age", AGES)
def test_mutated_file_is_read_or_refused(tmp_path: Path, age: Age) -> None:
    """10,000 of them: nothing but OmFile or one line, inside the file, in well under a second."""
    rng = random.Random(20 + AGES.index(age))  # noqa: S311  # reproducible, not secret
    content = om_bytes(tmp_path, age=age)
    whole = read(content)
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for _ in range(MUTATIONS // len(AGES) + 1):
        mutated = mutate(rng, content, age)
        start = time.process_time()  # of this process: a busy machine does not count
        refusal, om = "", None
        try:
            om = read(mutated)
        except ArtifactError as error:  # any other fails the test
            refusal = str(error)
        slowest = max(slowest, time.process_time() - start)
        said = refusal or "; ".join(om.unread if om else ())
        outcomes[" ".join(word for word in said.split() if word.isalpha())[:60]] += 1
        assert "\n" not in said
        assert len(said) < 2000
        if om is not None and not om.unread and len(mutated) == len(content):
            # silence about anything but a letter: the parts lie where they lay
            assert [one.offset for one in om.partitions] == [one.offset for one in whole.partitions]

    assert slowest < SLOWEST_S
    # the control: they reach all the checks, and not one alone
    assert outcomes[""] > MUTATIONS // 100
    assert len(outcomes) > 20
