"""What watches the engine at work: anomaly detection and profiling."""

import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .engine import Node, Tensor, observe
from .messages import described, first_true
from .watching import Call

__all__ = ["AnomalyError", "Profile", "detect_anomaly", "profile"]

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


def _user_line() -> str:
    """Return file:line of the innermost caller outside this package and the standard library."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(_PACKAGE)
        or os.path.dirname(frame.f_code.co_filename) + os.sep == _LIBRARY
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


class AnomalyError(RuntimeError):
    """A nan or inf that came out of finite numbers."""


def _not_finite(value: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    host = value.to_host() if isinstance(value, Tensor) else np.asarray(value)
    return ~np.isfinite(host) if host.dtype.kind in "fc" else np.zeros(host.shape, np.bool_)


class _Anomalies:
    """Raises at the first operation that makes a nan or inf of finite inputs."""

    synchronizes = False

    def __init__(self) -> None:
        self._lines: weakref.WeakKeyDictionary[Node, str] = weakref.WeakKeyDictionary()
        self._node: Node | None = None

    def entered(self, node: Node | None) -> None:
        self._node = node

    def read(self, tensor: Tensor) -> None:
        pass

    def ran(self, call: Call) -> None:
        line = self._lines.get(self._node) if self._node else _user_line()
        for output in call.outputs:
            if line and output.node is not None:
                self._lines[output.node] = line
        changed = [call.args[i] for i in call.op.written(len(call.args))]
        written = [x for x in changed if x is not None]
        for output in (*call.outputs, *written):
            bad = _not_finite(output)
            given = (*call.args, *call.params.values())  # mg.full(3, inf) is no accident
            numbers = [a for a in given if isinstance(a, Tensor | float | complex)]
            numbers = [a for a in numbers if not any(a is w for w in written)]
            if bad.any() and not any(_not_finite(a).any() for a in numbers):
                self._report(call, output, bad, line or "a line that was not watched")

    def _report(self, call: Call, output: Tensor, bad: Any, line: str) -> None:
        at = first_true(bad)
        where = "in the forward pass"
        if self._node is not None and self._node.op is not None:
            where = f"in the derivative of {self._node.op.name}, whose forward was called"
        self._node = None
        raise AnomalyError(
            f"{call.op.name} gave {output.to_host()[at]} at element {at} of {output.shape}, the "
            f"first of {bad.sum()}, from finite {described(call.op, call.args)}; {where} at {line}"
        )


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Raise AnomalyError where a nan or inf first appears, forward or backward, in a `with` block.

    The message names the op, the shapes and the source line. Slow: every value is looked at.
    """
    with observe(_Anomalies()):
        yield


@dataclass(eq=False)
class Row:
    """What all calls of one op cost in one phase; bytes are those of the outputs."""

    op: str
    phase: str
    calls: int = 0
    seconds: float = 0.0
    bytes: int = 0


@dataclass(eq=False)
class Profile:
    """Calls, time and bytes by op and phase, and how often the host read from a tensor."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    reads: int = 0
    bytes_read: int = 0
    synchronizes = True
    _phase: str = field(default="forward", init=False, repr=False)

    def entered(self, node: Node | None) -> None:
        """Note whether backward is at work."""
        self._phase = "forward" if node is None else "backward"

    def read(self, tensor: Tensor) -> None:
        """Count a read by the host."""
        self.reads += 1
        self.bytes_read += tensor.size * tensor.dtype.itemsize

    def ran(self, call: Call) -> None:
        """Add one call."""
        key = (call.op.name, self._phase)
        row = self.rows.setdefault(key, Row(*key))
        row.calls += 1
        row.seconds += call.seconds
        row.bytes += sum(y.size * y.dtype.itemsize for y in call.outputs)

    def __str__(self) -> str:
        rows = sorted(self.rows.values(), key=lambda row: -row.seconds)
        total = sum(row.seconds for row in rows)
        lines = [f"{'op':<24}{'phase':<10}{'calls':>8}{'ms':>12}{'share':>8}{'MiB':>12}"]
        for row in rows:
            share = row.seconds / total if total else 0.0
            lines.append(
                f"{row.op:<24}{row.phase:<10}{row.calls:>8}{row.seconds * 1e3:>12.3f}"
                f"{share:>8.1%}{row.bytes / 2**20:>12.3f}"
            )
        calls, size = sum(row.calls for row in rows), sum(row.bytes for row in rows)
        lines.append(
            f"{'all':<34}{calls:>8}{total * 1e3:>12.3f}{'':>8}{size / 2**20:>12.3f}\n"
            f"reads by the host: {self.reads}, {self.bytes_read} bytes"
        )
        return "\n".join(lines)


@contextmanager
def profile() -> Iterator[Profile]:
    """Count calls, time and bytes per op in a `with` block; print the Profile for the table."""
    seen = Profile()
    with observe(seen):
        yield seen
