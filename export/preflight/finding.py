"""What preflight reports, and the form of the rules that report it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec
import onnx

from export.preflight.graph import Graph, nodes_of
from runtime.errors import one_line
from runtime.files import printable

Severity = Literal["refused", "changed", "risk"]
SEVERITIES: tuple[Severity, ...] = ("refused", "changed", "risk")

# The place of a finding that is about no single node.
GRAPH = "graph"


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reason not to convert a graph as it is.

    Attributes:
        severity: "refused": ATC ends with an error; "changed": it converts to something that
            computes other numbers; "risk": slow or imprecise on the chip.
        rule: its name in `export.preflight.RULES`.
        node: name of the node, tensor, input or output; "graph" for the graph as a whole.
        found: what is there.
        remedy: what to do about it.
        source: where the contract is written; [V] seen there, [I] inferred from it.
    """

    severity: Severity
    rule: str
    node: str
    found: str
    remedy: str
    source: str


class Hit(NamedTuple):
    """A place where a rule applies; `position` is the node's index, -1 for what has none."""

    position: int
    node: str
    found: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One line of the contract, and the search for what breaks it."""

    name: str
    severity: Severity
    source: str
    remedy: str
    search: Callable[[Graph], Iterable[Hit]]

    def apply(self, graph: Graph) -> Iterator[tuple[int, Finding]]:
        """Find every place, with its position in the graph."""
        for hit in self.search(graph):
            yield (
                hit.position,
                Finding(
                    severity=self.severity,
                    rule=self.name,
                    node=hit.node,
                    found=hit.found,
                    remedy=self.remedy,
                    source=self.source,
                ),
            )


def rule(
    name: str, severity: Severity, *, source: str, remedy: str
) -> Callable[[Callable[[Graph], Iterable[Hit]]], Rule]:
    """Make a rule of the search it decorates."""

    def made(search: Callable[[Graph], Iterable[Hit]]) -> Rule:
        return Rule(name=name, severity=severity, source=source, remedy=remedy, search=search)

    return made


def node_rule(
    name: str, severity: Severity, *types: str, source: str, remedy: str
) -> Callable[[Callable[[Graph, onnx.NodeProto], str]], Rule]:
    """Make a rule about nodes of some types; what it decorates returns a node's fault, or ""."""

    def made(fault: Callable[[Graph, onnx.NodeProto], str]) -> Rule:
        def search(graph: Graph) -> Iterator[Hit]:
            for position, label, node in nodes_of(graph, *types):
                found = fault(graph, node)
                if found:
                    yield Hit(position, label, found)

        return rule(name, severity, source=source, remedy=remedy)(search)

    return made


def operator_rule(name: str, severity: Severity, *types: str, source: str, remedy: str) -> Rule:
    """Make a rule that finds every node of some types."""
    found = node_rule(name, severity, *types, source=source, remedy=remedy)
    return found(lambda _, node: f"operator {node.op_type}")


def fatal(findings: Iterable[Finding]) -> bool:
    """Whether a conversion would fail or give other numbers; risks alone let it pass."""
    return any(finding.severity != "risk" for finding in findings)


def as_text(model: str, findings: tuple[Finding, ...]) -> str:
    """The findings for people: a paragraph each, and a summary."""
    lines = []
    for finding in findings:
        # a name in a graph may hold anything, line breaks included
        place = f"{finding.severity}: {finding.rule}: {finding.node}: {finding.found}"
        lines += [printable(one_line(place)), f"  {finding.remedy}.", f"  {finding.source}", ""]
    counts = Counter(finding.severity for finding in findings)
    summary = [f"{counts[one]} {one}" for one in SEVERITIES if counts[one]]
    if not fatal(findings):
        summary.append("ATC has no reason to refuse this graph")
    return "\n".join([*lines, f"{printable(model)}: {', '.join(summary)}"])
