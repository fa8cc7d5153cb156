"""Imports packages in a child Python, because an import may crash or hang."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.doctor.child import MARK
from runtime.errors import one_line
from runtime.machine import process

logger = logging.getLogger("starmark")

# A cold import of torch from a network drive is slow.
TIMEOUT_S = 90.0
CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The outcome of importing a package: facts by name, or errors, the outermost first."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    errors: tuple[str, ...] = ()

    @property
    def cause(self) -> str:
        """The innermost error; empty where nothing failed."""
        return self.errors[-1] if self.errors else ""

    @property
    def version(self) -> str:
        """The version that the package reports."""
        return str(self.facts.get("version", ""))


def installed(module: str) -> bool:
    """Whether an import would find the package; nothing is loaded."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def ask(module: str, library: str = "", **environment: str) -> Answer:
    """Import a package in a child Python, whose environment is changed by what is given.

    A library, a path in the package's folder, is loaded as well: `loader_error` is among the facts.
    """
    logger.info("trying %s", module)
    command = [sys.executable, str(CHILD), module, library]
    done = process.run(command, timeout_s=TIMEOUT_S, env={**os.environ, **environment})
    found = re.search(rf"^{re.escape(MARK)}(.*)$", done.output, re.MULTILINE)
    facts = json.loads(found.group(1)) if found else {}
    if "errors" in facts:
        return Answer(errors=tuple(facts["errors"]))
    if found and done.returncode == 0 and not done.timed_out:
        return Answer(facts=facts)
    printed = one_line(done.output[-300:])
    error = f"exit status {done.returncode}: {printed}"
    if done.timed_out:
        error = f"no end within {TIMEOUT_S:g} s: it hangs"
    elif done.returncode < 0:
        name = signal.strsignal(-done.returncode) or f"signal {-done.returncode}"
        error = f"it crashes: {name}. {printed}".strip()
    return Answer(errors=(error,))
