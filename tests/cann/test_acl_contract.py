"""The product's use of acl, held to pyACL as it is published: see `acl_contract`.

What runs on the simulated acl holds that to the same table.
"""

from __future__ import annotations

import ast
import importlib
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from builders import ROOT
from cann import om_writer
from cann.acl_contract import CALLS, CONSTANTS, Published
from cann.control import Control

from runtime.backends.ascend import codes as acl_codes
from runtime.backends.ascend import loaded_model
from runtime.backends.ascend.acl import Acl, AclFailure, Owner
from runtime.model import om_tensors

H2D = CONSTANTS["aclrtMemcpyKind.ACL_MEMCPY_HOST_TO_DEVICE"]
D2H = CONSTANTS["aclrtMemcpyKind.ACL_MEMCPY_DEVICE_TO_HOST"]
HUGE_FIRST = CONSTANTS["aclrtMemMallocPolicy.ACL_MEM_MALLOC_HUGE_FIRST"]


def test_the_simulated_acl_has_no_other_calls(npu: Control) -> None:
    """So whatever else the product called, or with other arguments, would fail in its own tests."""
    rooms = {"": npu.acl, "rt.": npu.acl.rt, "mdl.": npu.acl.mdl}
    names = {
        prefix + name
        for prefix, room in rooms.items()
        for name, function in vars(room).items()
        if hasattr(function, "__wrapped__")
    }
    assert names == CALLS.keys()


@dataclass(frozen=True)
class Use:
    """One place where the product calls acl.

    Attributes:
        how: what it takes the result for: "ret", "value" or "value, ret" in that order, "handle"
            with or without a code; "alone" is whatever is no tuple.
    """

    name: str
    count: int
    how: str
    where: str


WRAPPED = {"do": "ret", "get": "value, ret", "make": "handle", "call": "", "owe": "ret"}
CODE_NAMES = {"code", "ret"}


def names_in(node: ast.expr, where: str) -> list[str]:
    """The calls that a text names; an f-string's {kind} is input and output."""
    texts: list[str] = []
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        texts = [node.value]
    if isinstance(node, ast.JoinedStr):
        texts = [
            "".join(str(p.value) if isinstance(p, ast.Constant) else kind for p in node.values)
            for kind in ("input", "output")
        ]
    # whoever else has a `get` names other things
    about_acl = where.startswith(("runtime/backends/ascend/", "line"))
    return [text for text in texts if about_acl or text.startswith(("rt.", "mdl.", "util."))]


def taken_as(parent: ast.AST) -> str:
    """What a raw result is taken for, by what it is bound to."""
    targets = parent.targets if isinstance(parent, ast.Assign) else []
    if isinstance(parent, ast.AnnAssign):
        targets = [parent.target]
    for target in targets:
        if isinstance(target, ast.Tuple):
            codes = [ast.unparse(one) in CODE_NAMES for one in target.elts]
            return ", ".join("ret" if code else "value" for code in codes)
        return "ret" if ast.unparse(target) in CODE_NAMES else "value"
    return "alone"


def uses_in(source: str, where: str) -> Iterator[Use]:
    """Every call of acl in a module's text."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        place = f"{where}:{node.lineno}"
        called = ast.unparse(node.func)
        verb = called.rpartition(".")[2]
        if called.startswith("acl.") and verb not in {*WRAPPED, "recent_error"}:
            yield Use(called.removeprefix("acl."), len(node.args), taken_as(parents[node]), place)
        if called == "getattr" and len(node.args) > 1:
            found = names_in(node.args[1], where)
            yield from (Use(name, 0, "alone", place) for name in found if name in CALLS)
        if verb not in WRAPPED or not node.args:
            continue
        texts = [names_in(argument, where) for argument in node.args]
        arguments, how = node.args[1:], WRAPPED[verb] or taken_as(parents[node])
        if verb == "make" and len(texts) > 1 and texts[1]:  # an owner's: what releases it is first
            yield from (Use(name, 1, "ret", place) for name in texts[0])
            texts, arguments = texts[1:], node.args[2:]
        for name in texts[0]:
            starred = any(isinstance(one, ast.Starred) for one in arguments)
            assert not starred, f"{place}: cannot be counted"
            yield Use(name, len(arguments), how, place)


def uses() -> list[Use]:
    return [
        use
        for path in sorted((ROOT / "runtime").rglob("*.py"))
        for use in uses_in(path.read_text(), path.relative_to(ROOT).as_posix())
    ]


def fits(use: Use, published: Published) -> bool:
    """Whether the product calls as the table has it."""
    shape = ", ".join("ret" if kind == "ret" else "value" for kind in published.returns)
    taken = {
        "handle": shape in ("value", "value, ret"),
        "alone": "," not in shape,
    }.get(use.how, use.how == shape)
    return taken and published.fewest <= use.count <= len(published.arguments)


def test_the_product_calls_what_the_table_has() -> None:
    """Each of its calls stands there, and nothing stands there that it does not call."""
    assert {use.name for use in uses()} == CALLS.keys()


def test_the_product_calls_as_the_table_has_it() -> None:
    """The number of arguments, and what it takes the result for."""
    wrong = [use for use in uses() if not fits(use, CALLS[use.name])]
    assert wrong == []
    assert len(uses()) > 50


@pytest.mark.parametrize(
    "line",
    [
        "acl.do('rt.memcpy', a, b, c, d)",
        "acl.get('rt.synchronize_stream', stream)",
        "acl.do('rt.create_stream')",
        "code, context = acl.call('rt.get_context')",
        "context = acl.call('rt.get_context')",
        "code = acl.call('mdl.get_num_inputs', desc)",
        "self._owner.make('rt.free', 'rt.malloc', size)",
        "make('mdl.get_desc', 'mdl.create_desc')",
        "code, devices = acl.rt.get_device_count()",
        "if acl.rt.get_device_count(): pass",
        "facts = call(f'mdl.get_{kind}_dims', desc, index)",
    ],
)
def test_a_wrong_call_would_be_seen(line: str) -> None:
    """The walk over the sources is worth what it finds."""
    found = list(uses_in(line, "line"))
    assert found
    assert not all(fits(use, CALLS[use.name]) for use in found)


def published_module(given: Callable[[Published], tuple[Any, ...]]) -> Any:
    """A module of the table's calls, each of which gives what a function says of its returns."""
    module = types.SimpleNamespace(rt=types.SimpleNamespace(), mdl=types.SimpleNamespace())
    for name, published in CALLS.items():
        results = given(published)
        result = results if len(results) > 1 else results[0]
        room, _, call = name.rpartition(".")
        setattr(getattr(module, room) if room else module, call, lambda *_, r=result: r)
    return module


def test_the_product_takes_values_from_where_the_table_has_them() -> None:
    """`do`, `get` and `make` on results as the table orders them."""
    acl = Acl(published_module(lambda p: tuple(0 if k == "ret" else 0x40 for k in p.returns)))
    for name, published in CALLS.items():
        if published.returns == ("ret",):
            acl.do(name)
        elif published.returns[-1] == "ret":
            assert (acl.get(name), acl.make(name)) == (0x40, 0x40)
        elif published.returns == ("handle",):
            assert acl.make(name) == 0x40


def test_the_product_sees_a_code_where_the_table_has_it() -> None:
    """Any code but 0 is a failure of that call; no handle is one, too."""
    acl = Acl(published_module(lambda p: tuple(507011 if k == "ret" else 0 for k in p.returns)))
    acl.module.get_recent_err_msg = lambda: "EE9999: a text"
    for name, published in CALLS.items():
        ways: list[Callable[..., Any]] = []
        if published.returns == ("ret",):
            ways = [acl.do]
        elif published.returns[-1] == "ret":
            ways = [acl.get, acl.make, lambda name: Owner(acl).make("finalize", name)]
        elif published.returns == ("handle",):
            ways = [acl.make]
        for way in ways:
            with pytest.raises(AclFailure) as told:
                way(name)
            code = 0 if published.returns == ("handle",) else 507011
            assert told.value.args == (name, code, "EE9999: a text")


# NumPy's names of the types whose names differ by more than case
NAMES_OF = {"FLOAT": "float32", "DOUBLE": "float64", "BF16": "bfloat16"}
TYPES = {
    number: NAMES_OF.get(name, name.lower())
    for key, number in CONSTANTS.items()
    for name in [key.partition("aclDataType.ACL_")[2]]
    if name
}
NUMPY_TYPES = {number: name for number, name in TYPES.items() if name != "bfloat16"}


def test_the_product_s_types_are_those_of_the_header() -> None:
    """Of the .om's description and of the loaded model alike."""
    assert om_tensors.DTYPES == TYPES
    assert {number: np.dtype(name) for number, name in NUMPY_TYPES.items()} == loaded_model.DTYPES


@pytest.mark.usefixtures("npu")
def test_the_simulator_s_types_are_those_of_the_header() -> None:
    """Of its arithmetic, its loader and its writer."""
    sizes = {number: np.dtype(name).itemsize for number, name in NUMPY_TYPES.items()}

    assert importlib.import_module("acl._arithmetic").DTYPES == NUMPY_TYPES
    assert sizes == importlib.import_module("acl._artifact").ITEM_BYTES
    assert sizes == om_writer.ITEM_BYTES


def test_the_product_s_numbers_are_those_of_the_headers() -> None:
    """Kinds of copies, the policy, and the one code that it looks for."""
    assert (loaded_model.HOST_TO_DEVICE, loaded_model.DEVICE_TO_HOST) == (H2D, D2H)
    assert loaded_model.HUGE_FIRST == HUGE_FIRST
    assert CONSTANTS["ACL_ERROR_REPEAT_INITIALIZE"] == acl_codes.REPEAT_INITIALIZE
