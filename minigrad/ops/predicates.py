"""Comparisons, logic and bits: elementwise functions without a derivative."""

from collections.abc import Callable
from typing import Any

from ..engine import NO_PARAMS, Op

__all__ = [
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "equal",
    "greater",
    "greater_equal",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "signbit",
]


def _test(name: str, forward: Callable[..., Any]) -> Op:
    """A function to booleans or integers: no derivative, and operands compared as they are."""
    return Op(name, forward, NO_PARAMS, elementwise=True, promotes=())


equal = _test("equal", lambda xp, x, y: xp.equal(x, y))
"""Whether x = y, broadcast: booleans, no derivative; nan is equal to nothing."""

not_equal = _test("not_equal", lambda xp, x, y: xp.not_equal(x, y))
"""Whether x ≠ y, broadcast: booleans, no derivative."""

less: Op = _test("less", lambda xp, x, y: xp.less(x, y))
"""Whether x < y, broadcast: booleans, no derivative."""

less_equal: Op = _test("less_equal", lambda xp, x, y: xp.less_equal(x, y))
"""Whether x ≤ y, broadcast: booleans, no derivative."""

greater: Op = _test("greater", lambda xp, x, y: xp.greater(x, y))
"""Whether x > y, broadcast: booleans, no derivative."""

greater_equal = _test("greater_equal", lambda xp, x, y: xp.greater_equal(x, y))
"""Whether x ≥ y, broadcast: booleans, no derivative."""

logical_and = _test("logical_and", lambda xp, x, y: xp.logical_and(x, y))
"""Whether both x and y are true (not 0), broadcast: booleans."""

logical_or = _test("logical_or", lambda xp, x, y: xp.logical_or(x, y))
"""Whether x or y is true (not 0), broadcast: booleans."""

logical_xor = _test("logical_xor", lambda xp, x, y: xp.logical_xor(x, y))
"""Whether exactly one of x and y is true (not 0), broadcast: booleans."""

logical_not = _test("logical_not", lambda xp, x: xp.logical_not(x))
"""Whether x is false (0): booleans."""

bitwise_and = _test("bitwise_and", lambda xp, x, y: x & y)
"""x & y bit by bit, of integers or booleans, broadcast."""

bitwise_or = _test("bitwise_or", lambda xp, x, y: x | y)
"""x | y bit by bit, of integers or booleans, broadcast."""

bitwise_xor = _test("bitwise_xor", lambda xp, x, y: x ^ y)
"""x ^ y bit by bit, of integers or booleans, broadcast."""

bitwise_invert = _test("bitwise_invert", lambda xp, x: ~x)
"""~x bit by bit, of integers; of booleans, not x."""

bitwise_left_shift = _test("bitwise_left_shift", lambda xp, x, y: x << y)
"""x with its bits moved y places up, zeros behind them, of integers, broadcast."""

bitwise_right_shift = _test("bitwise_right_shift", lambda xp, x, y: x >> y)
"""x with its bits moved y places down, copies of the sign behind them, of integers, broadcast."""

isnan = _test("isnan", lambda xp, x: xp.isnan(x))
"""Where x is nan: booleans."""

isinf = _test("isinf", lambda xp, x: xp.isinf(x))
"""Where x is inf or -inf: booleans."""

isfinite = _test("isfinite", lambda xp, x: xp.isfinite(x))
"""Where x is neither nan nor infinite: booleans."""

signbit = _test("signbit", lambda xp, x: xp.signbit(x))
"""Where the sign of x is negative, that of -0 and of a nan too: booleans."""


def is_class(xp: Any, labels: Any, classes: int) -> Any:
    """Return for each label which of the classes it is: booleans with one axis more."""
    return labels[..., None] == xp.arange(classes)
