"""Every error this project raises on purpose, as one small tree.

    StarmarkError
    ├── ConfigError            a setting, an option or a TOML file is wrong          exit 2
    ├── ArtifactError          a model file, checkpoint or bundle is not what it says exit 2
    ├── InputError             a picture, a box or a crop cannot be used              exit 2
    ├── BackendError           an engine failed                                       exit 4
    │   ├── BackendUnavailable engine, device or tool is missing                      exit 3
    │   └── InferenceError     the engine failed while running                        exit 4
    └── ExportError            a step of the export failed while working              exit 4

A wrong value reads `<where>: expected <contract>, got <value>. <next action>.`; an event reads
`<where>: <what happened>. <next action>.`
"""

from __future__ import annotations

LONGEST_GOT = 300
# The cause with a code of its own: the device is of no more use to this process.
DEVICE_LOST = "device-lost"

EXIT_OK = 0
EXIT_FOUND_WANTING = 1
EXIT_BAD_INPUT = 2
EXIT_UNAVAILABLE = 3
EXIT_FAILED = 4
EXIT_INTERRUPTED = 130


class StarmarkError(Exception):
    """Base of the tree; carries the parts of the message and the exit code of a command line.

    Attributes:
        code: a stable name for programs: of the class, or of a cause that has its own.

    Args:
        where: file, option or argument the fault is in.
        expected: the contract; empty for an event.
        got: the value found, already readable (use repr for data from outside); or what happened.
        action: what to do next, as a sentence without its full stop.
    """

    exit_code = EXIT_FAILED
    code = "failed"

    def __init__(self, where: str, *, got: str, action: str, expected: str = "") -> None:
        super().__init__(where, expected, got, action)
        self.where = where
        self.expected = expected
        self.got = got
        self.action = action

    def __str__(self) -> str:
        return one_line(f"{self.where}: {self.problem}. {self.action}.")

    @property
    def problem(self) -> str:
        """The message without its place and its next action."""
        # what was found may be of any length; the next action must not be cut off by it
        got = one_line(self.got, LONGEST_GOT)
        return f"expected {self.expected}, got {got}" if self.expected else got

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own pickling passes no keywords; worker processes send errors home by pickle.
        parts = (self.where, self.expected, self.got, self.action)
        return (_rebuild, (type(self), *parts, self.code))


class ConfigError(StarmarkError):
    """A setting, an option or a TOML file is wrong."""

    exit_code = EXIT_BAD_INPUT
    code = "config"


class ArtifactError(StarmarkError):
    """A model file, checkpoint or bundle is not what it says it is."""

    exit_code = EXIT_BAD_INPUT
    code = "artifact"


class InputError(StarmarkError):
    """A picture, a box or a crop cannot be used."""

    exit_code = EXIT_BAD_INPUT
    code = "input"


class BackendError(StarmarkError):
    """An engine failed."""

    code = "backend"


class BackendUnavailable(BackendError):  # noqa: N818  # the field says "unavailable"
    """An engine, a device or a tool is missing; nothing else was tried in its place."""

    exit_code = EXIT_UNAVAILABLE
    code = "unavailable"


class InferenceError(BackendError):
    """The engine failed while running."""

    code = "inference"


class ExportError(StarmarkError):
    """A step of the export failed while working."""

    code = "export"


def one_line(text: object, limit: int = 4000, *, kind: bool = False) -> str:
    """Fold white space, engine messages included, so that an error stays one line.

    `kind` puts an exception's class before its words.
    """
    folded = " ".join(f"{type(text).__name__}: {text}".split() if kind else str(text).split())
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"


def _rebuild(
    kind: type[StarmarkError], where: str, expected: str, got: str, action: str, code: str
) -> StarmarkError:
    error = kind(where, expected=expected, got=got, action=action)
    error.code = code
    return error
