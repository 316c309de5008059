"""Errors in words: the op, its inputs, the offending axis; the name that was meant."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with the nearest known name, or "" if none is near."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


class ForeignOperand(TypeError):
    """An operand that is no tensor, array or number; its own type may know what to do."""


def first_true(mask: Any) -> tuple[int, ...]:
    """Return the position of the first true element of a NumPy array that has one."""
    return tuple(map(int, np.unravel_index(np.argmax(mask), mask.shape)))


EXPLAINED = (ValueError, TypeError, IndexError, OverflowError, FloatingPointError)


def explain(error: Exception, op: Any, args: Sequence[Any]) -> NoReturn:
    """Raise the error again with the op's name, its inputs and, for shapes, the offending axis."""
    finer = np.exceptions.AxisError, np.linalg.LinAlgError
    kind = next(k for k in (*finer, *EXPLAINED) if isinstance(error, k))
    detail = str(error)
    shapes = [a.shape for a in args if hasattr(a, "shape")]
    if op.elementwise and isinstance(error, ValueError) and (axis := _broken_axis(shapes)):
        lengths = " and ".join(str(s[axis]) for s in shapes if len(s) >= -axis)
        detail = f"the shapes do not broadcast: axis {axis} has lengths {lengths}"
    detail = detail.removeprefix(f"{op.name}: ")
    raise kind(f"{op.name}: {detail}; got {described(op, args)}") from error


def _broken_axis(shapes: Iterable[tuple[int, ...]]) -> int:
    """Return the last axis (negative) on which the shapes do not broadcast; 0 where they do."""
    columns = itertools.zip_longest(*(reversed(s) for s in shapes), fillvalue=1)
    for back, lengths in enumerate(columns, 1):
        if len({n for n in lengths if n != 1}) > 1:
            return -back
    return 0


def described(op: Any, args: Sequence[Any]) -> str:
    """Return names, dtypes and shapes of an op's arguments for a message."""
    names = itertools.chain(op.inputs, itertools.repeat(op.variadic))
    return ", ".join(
        f"{name}: {a.dtype} {a.shape}" if hasattr(a, "shape") else f"{name}: {a!r}"
        for name, a in zip(names, args, strict=False)
        if a is not None
    )


def require_alike(what: str, new: Any, old: Any, devices: bool = True) -> None:
    """Raise ValueError where a tensor's shape, dtype or device is not that of another."""
    if new.shape != old.shape or new.dtype != old.dtype or (devices and new.device != old.device):
        raise ValueError(
            f"{what} must stay {old.dtype} {old.shape} on {old.device}; "
            f"got {new.dtype} {new.shape} on {new.device}"
        )
