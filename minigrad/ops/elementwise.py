"""Elementwise ops: value and derivative side by side, as in a textbook's table.

Inputs broadcast and share one dtype; the engine sums cotangents back. A derivative that can be
infinite at a finite input goes through `absorb`, so that a masked branch has the gradient 0.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ..engine import NO_PARAMS, Op, Tensor
from .creation import zeros_like

__all__ = [
    "abs",
    "absorb",
    "add",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_or",
    "bitwise_xor",
    "clip",
    "divide",
    "equal",
    "exp",
    "floor_divide",
    "greater",
    "greater_equal",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "positive",
    "pow",
    "relu",
    "remainder",
    "sigmoid",
    "sign",
    "sqrt",
    "subtract",
    "tanh",
    "where",
]


elementwise = partial(Op, elementwise=True)


def zero(g: Tensor) -> Tensor:
    """The rule of a function that is constant between its jumps."""
    return zeros_like(g)


#: x·a, but 0 where x is exactly 0, whatever a is. It is bilinear, and so are its rules.
absorb: Op = elementwise(
    "absorb",
    lambda xp, x, a: x * xp.where(x == 0, x, a),  # a product 0·inf would be a warning
    vjp=dict(x=lambda g, a: absorb(g, a), a=lambda g, x: absorb(g, x)),
)

where: Op = Op(
    "where",
    lambda xp, condition, x, y: xp.where(condition, x, y),
    vjp=dict(
        x=lambda g, condition: where(condition, g, 0),
        y=lambda g, condition: where(condition, 0, g),
    ),
    elementwise=True,
    promotes=("x", "y"),
)

add = elementwise("add", lambda xp, x, y: x + y, vjp=dict(x=lambda g: g, y=lambda g: g))
subtract = elementwise("subtract", lambda xp, x, y: x - y, vjp=dict(x=lambda g: g, y=lambda g: -g))
multiply = elementwise(
    "multiply", lambda xp, x, y: x * y, vjp=dict(x=lambda g, y: g * y, y=lambda g, x: g * x)
)


def _divide_x(g: Tensor, y: Any) -> Tensor:
    if isinstance(y, Tensor):
        return absorb(g, 1 / y)
    return g / y if y else absorb(g, math.inf)


divide = elementwise(
    "divide",
    lambda xp, x, y: x / y,
    vjp=dict(x=_divide_x, y=lambda g, out, y: absorb(g, -out / y)),
    floating=True,
)
floor_divide = elementwise("floor_divide", lambda xp, x, y: x // y, vjp=dict(x=zero, y=zero))
remainder = elementwise(
    "remainder",
    lambda xp, x, y: x % y,
    vjp=dict(x=lambda g: g, y=lambda g, x, y: absorb(g, -(x // y))),
)


def _pow_x(g: Tensor, x: Tensor, y: Any) -> Tensor:
    if isinstance(y, Tensor):
        return absorb(g, absorb(y, x ** (y - 1)))  # absorb: x**0 is flat, at 0 as well
    if y == 2:
        return g * (2 * x)
    return zeros_like(g) if y == 0 else absorb(g, y * x ** (y - 1))


def _pow_y(g: Tensor, out: Tensor, x: Any, y: Tensor) -> Tensor:
    x = x if isinstance(x, Tensor) else zeros_like(y) + x
    flat = logical_and(equal(x, 0), greater_equal(y, 0))  # 0**y is 0 for every y > 0
    # absorb again: where g is 0, the nan of a negative base must not come back at second order.
    return absorb(g, absorb(out, log(where(flat, 1, x))))


pow = elementwise("pow", lambda xp, x, y: x**y, vjp=dict(x=_pow_x, y=_pow_y))

positive = elementwise("positive", lambda xp, x: +x, vjp=dict(x=lambda g: g))
negative = elementwise("negative", lambda xp, x: -x, vjp=dict(x=lambda g: -g))
abs = elementwise("abs", lambda xp, x: xp.abs(x), vjp=dict(x=lambda g, x: g * sign(x)))
sign: Op = elementwise("sign", lambda xp, x: xp.sign(x), vjp=dict(x=zero))

exp = elementwise(
    "exp", lambda xp, x: xp.exp(x), vjp=dict(x=lambda g, out: absorb(g, out)), floating=True
)
log: Op = elementwise(
    "log", lambda xp, x: xp.log(x), vjp=dict(x=lambda g, x: absorb(g, 1 / x)), floating=True
)
sqrt = elementwise(
    "sqrt", lambda xp, x: xp.sqrt(x), vjp=dict(x=lambda g, out: absorb(g, 0.5 / out)), floating=True
)
tanh = elementwise(
    "tanh", lambda xp, x: xp.tanh(x), vjp=dict(x=lambda g, out: g * (1 - out * out)), floating=True
)


def _sigmoid_forward(xp: Any, x: Any) -> Any:
    small = xp.exp(-xp.abs(x))  # at most 1: exp(-x) would overflow
    return xp.where(x >= 0, 1, small) / (1 + small)


sigmoid = elementwise(
    "sigmoid",
    _sigmoid_forward,
    vjp=dict(x=lambda g, out: g * (out * (1 - out))),
    floating=True,
)
relu = elementwise(
    "relu",
    lambda xp, x: xp.maximum(x, 0),
    vjp=dict(x=lambda g, out: where(less_equal(out, 0), 0, g)),
)


def _greater_part(g: Tensor, x: Any, y: Any) -> Tensor:
    """The cotangent of x in max(x, y): all of g where x is greater, half of it in a tie."""
    return where(equal(x, y), 0.5 * g, where(less(x, y), 0, g))  # a nan passes g on


maximum = elementwise(
    "maximum",
    lambda xp, x, y: xp.maximum(x, y),
    vjp=dict(x=_greater_part, y=lambda g, x, y: _greater_part(g, y, x)),
)
minimum = elementwise(
    "minimum",
    lambda xp, x, y: xp.minimum(x, y),
    vjp=dict(x=lambda g, x, y: _greater_part(g, y, x), y=_greater_part),
)


def _clip_forward(xp: Any, x: Any, min: Any = None, max: Any = None) -> Any:
    above = +x if min is None else xp.maximum(x, min)
    return above if max is None else xp.minimum(above, max)


def _raised(x: Any, min: Any) -> Any:
    return x if min is None else maximum(x, min)


def _inside(x: Any, min: Any, max: Any) -> Any:
    above = True if min is None else greater_equal(x, min)
    below = True if max is None else less_equal(x, max)
    return logical_and(above, below)


_clip = elementwise(
    "clip",
    _clip_forward,
    vjp=dict(
        x=lambda g, x, min, max: where(_inside(x, min, max), g, 0),
        min=lambda g, x, min, max: where(_inside(min, None, max), where(less(x, min), g, 0), 0),
        max=lambda g, x, min, max: where(greater(_raised(x, min), max), g, 0),
    ),
)


def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """Limit x to [min, max]; the derivative at a bound is 1, and max wins where min > max."""
    return positive(x) if min is None and max is None else _clip(x, min, max)


def _test(name: str, forward: Callable[..., Any]) -> Op:
    """A function to booleans or integers: no derivative, and operands compared as they are."""
    return Op(name, forward, NO_PARAMS, elementwise=True, promotes=())


equal = _test("equal", lambda xp, x, y: xp.equal(x, y))
not_equal = _test("not_equal", lambda xp, x, y: xp.not_equal(x, y))
less: Op = _test("less", lambda xp, x, y: xp.less(x, y))
less_equal: Op = _test("less_equal", lambda xp, x, y: xp.less_equal(x, y))
greater: Op = _test("greater", lambda xp, x, y: xp.greater(x, y))
greater_equal = _test("greater_equal", lambda xp, x, y: xp.greater_equal(x, y))
logical_and = _test("logical_and", lambda xp, x, y: xp.logical_and(x, y))
logical_or = _test("logical_or", lambda xp, x, y: xp.logical_or(x, y))
logical_xor = _test("logical_xor", lambda xp, x, y: xp.logical_xor(x, y))
logical_not = _test("logical_not", lambda xp, x: xp.logical_not(x))
bitwise_and = _test("bitwise_and", lambda xp, x, y: x & y)
bitwise_or = _test("bitwise_or", lambda xp, x, y: x | y)
bitwise_xor = _test("bitwise_xor", lambda xp, x, y: x ^ y)
bitwise_invert = _test("bitwise_invert", lambda xp, x: ~x)
isnan = _test("isnan", lambda xp, x: xp.isnan(x))
isinf = _test("isinf", lambda xp, x: xp.isinf(x))
isfinite = _test("isfinite", lambda xp, x: xp.isfinite(x))
