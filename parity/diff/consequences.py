"""The consequence of each field's difference between two bundles or recordings."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal, NamedTuple, get_args

Kind = Literal[
    "changes answers",
    "may change answers within rounding",
    "changes where it runs",
    "no effect",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
ANSWERS, ROUNDING, WHERE, NONE = KINDS


class Rule(NamedTuple):
    """Fields, as a pattern of their dotted names, and what a difference in them changes."""

    pattern: str
    kind: Kind
    consequence: str


ASKED = "a request; its results are fields of their own"
ANOTHER_NETWORK = "another network"
ANOTHER_GRAPH = "another graph for the same network"
ANOTHER_FILE = "another graph, or the same with other weights: see above"

# The first pattern that fits is taken; * crosses dots, as `fnmatch` has it.
MODEL_RULES: tuple[Rule, ...] = (
    Rule("spec.topology.*", ANSWERS, "another mark-up: other points, or points of another meaning"),
    Rule(
        "spec.input.dtype",
        ROUNDING,
        "where the picture is normalised: a graph does it in fp32, AIPP in fp16",
    ),
    Rule("spec.input.layout", ROUNDING, "goes with the input's dtype; callers of the file see it"),
    Rule("spec.input.*", ANSWERS, "the network is fed something else"),
    Rule(
        "spec.taps*", NONE, "a debug bundle also gives the tensors inside; its answers are the same"
    ),
    Rule("spec.*", ANSWERS, "the network is read in another way"),
    Rule("checkpoint.file", NONE, "the weights' file name; their hash is a field of its own"),
    Rule("checkpoint.sha256", ANSWERS, "other weights"),
    Rule("checkpoint.*", ANSWERS, ANOTHER_NETWORK),
)
BUNDLE_RULES: tuple[Rule, ...] = (
    *MODEL_RULES,
    Rule("onnx.exporter", ROUNDING, "another exporter writes the same sums in another order"),
    Rule("onnx.opset", ROUNDING, "operators of another version, whose kernels may round elsewhere"),
    Rule("onnx.simplifier", ROUNDING, "other operators are folded or fused"),
    Rule("onnx.rewrites", ROUNDING, "the same network in another form"),
    Rule("onnx.*", ROUNDING, ANOTHER_GRAPH),
    Rule("quantisation", ANSWERS, "one side alone computes in int8: points move, up to its budget"),
    Rule("quantisation.found_px.*", NONE, "a measurement, which moves no point"),
    Rule("quantisation.evaluations", NONE, "how long it was searched"),
    Rule(
        "quantisation.*",
        ANSWERS,
        "other operators or ranges in int8: points move, up to the budget",
    ),
    Rule("om[[]*]", WHERE, "a converted model for a chip or batch that one side alone has"),
    Rule("om*.soc_version", WHERE, "another chip, with kernels of its own"),
    Rule("om*.batches", WHERE, "other batches are served in one call"),
    Rule("om*.gears", WHERE, "one file for several batches, or one each"),
    Rule("om*.precision", ROUNDING, "the chip computes in another precision"),
    Rule("om*.options.*", ROUNDING, "another conversion was requested of ATC"),
    Rule("om*.options", ROUNDING, "another conversion was requested of ATC"),
    Rule("om*.atc_version", ROUNDING, "another compiler: other kernels and fusions"),
    Rule("om*.input.dtype", ROUNDING, "AIPP normalises on the chip, in fp16"),
    Rule("om*.input.layout", ROUNDING, "goes with the input's dtype"),
    Rule("om*.input.*", ANSWERS, "the network is fed something else"),
    Rule("om*.aipp*", NONE, "what AIPP was measured to move; whether it is used stands in input"),
    Rule("om*.file", NONE, "a file's name"),
    Rule("om*", ROUNDING, "another conversion"),
    Rule("files.*.om", WHERE, "a converted model's file that one side alone has"),
    Rule("files.*.onnx", WHERE, "a graph that one side alone has"),
    Rule("files.*.om.*", ROUNDING, "another conversion of the graph"),
    Rule("files.*.onnx.*", ROUNDING, ANOTHER_FILE),
    Rule("files.*", NONE, "a report, log or self-test: no engine reads it to answer"),
    Rule("parity.max_*", NONE, "what was allowed to pass, not what is answered"),
    Rule("parity.*", NONE, "a verdict, which moves no point"),
    Rule("verification.*", NONE, "a measurement, which moves no point"),
    Rule("error_scale*", NONE, "what people's marks made of the covariance; it moves no point"),
    Rule("preflight", NONE, "findings about the graph, which move no point"),
    Rule("config.*", NONE, ASKED),
    Rule("versions.opencv-python", NONE, "the judge cropped with it: OpenCV 4 and 5 crop apart"),
    Rule("versions.onnxruntime", NONE, "the judge ran with it: its figures may differ in rounding"),
    Rule("versions.*", NONE, "made the files, whose hashes are fields of their own"),
    Rule("steps.*", NONE, "keys by which an export finds what is up to date"),
    Rule("name", NONE, "a name"),
    Rule("created_utc", NONE, "a timestamp"),
    Rule("digest", NONE, "the manifest's own hash: it differs with any field"),
)
RECORDING_RULES: tuple[Rule, ...] = (
    *MODEL_RULES,
    Rule("checkpoint_sha256", ANSWERS, "other weights"),
    Rule("parameters", ANSWERS, "another network, or one of the engines cannot count"),
    Rule("pictures", ANSWERS, "other pictures, boxes or crops: the two cannot be compared"),
    Rule("unreadable*", ANSWERS, "a picture that one side could not read"),
    Rule("arithmetic", ROUNDING, "one side computes in another precision"),
    Rule("engine", ROUNDING, "another engine, or another version of it"),
    Rule("versions.opencv", ROUNDING, "OpenCV 4 and 5 crop apart, by up to 0.4 photo px"),
    Rule("versions.*", ROUNDING, "the answers were made with it"),
    Rule("device", WHERE, "ran elsewhere"),
    Rule("machine", WHERE, "ran on another machine"),
    Rule("source", NONE, "a name"),
    Rule("with_crops", NONE, "whether the crops are kept in the file"),
    Rule("limits*", NONE, "what a self-test lets pass, not what is answered"),
    Rule("created_utc", NONE, "a timestamp"),
    *(rule._replace(pattern=f"manifest.{rule.pattern}") for rule in BUNDLE_RULES),
    Rule("manifest", WHERE, "one side was not run from a bundle"),
)


def consequence_of(
    field: str, rules: tuple[Rule, ...], *, another_network: bool = False
) -> tuple[Kind, str]:
    """Look a field up by its dotted name; one without a rule is assumed to change answers.

    Args:
        field: of a manifest or a header.
        rules: its kind's.
        another_network: whether the checkpoints are of two; their graphs then differ by that.
    """
    for rule in rules:
        if fnmatchcase(field, rule.pattern):
            if another_network and rule.consequence in (ANOTHER_GRAPH, ANOTHER_FILE):
                return ANSWERS, ANOTHER_NETWORK
            return rule.kind, rule.consequence
    return ANSWERS, "nothing is known about this field: the worst is assumed"
