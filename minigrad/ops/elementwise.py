"""Elementwise ops: value and derivative side by side, as in a textbook's table.

Inputs broadcast and share one dtype; the engine sums cotangents back. A derivative that can be
infinite at a finite input goes through `absorb`, so that a masked branch has the gradient 0.
"""

import math
from functools import partial
from typing import Any

from ..engine import Op, Tensor
from ..refusals import refuse_negative_powers
from .creation import astype, zeros_like
from .fused import fused
from .predicates import equal, greater_equal, less_equal, logical_and
from .reals import of_reals

__all__ = [
    "abs",
    "absorb",
    "add",
    "conj",
    "divide",
    "exp",
    "floor_divide",
    "imag",
    "log",
    "multiply",
    "negative",
    "positive",
    "pow",
    "real",
    "reciprocal",
    "relu",
    "remainder",
    "sigmoid",
    "sign",
    "sqrt",
    "square",
    "subtract",
    "tanh",
    "where",
]


elementwise = partial(Op, elementwise=True)
arithmetic = partial(elementwise, complex_rules=True)


def zero(g: Tensor) -> Tensor:
    """The rule of a function that is constant between its jumps."""
    return zeros_like(g)


conj: Op = elementwise(
    "conj", lambda xp, x: xp.conj(x), vjp=dict(x=lambda g: conj(g)), complex_rules=True
)
"""The complex conjugate; a copy of what is real."""


def conj_of(x: Any) -> Any:
    """Return the conjugate of what a rule multiplies with; what is real stays as it is."""
    if isinstance(x, Tensor):
        return conj(x) if x._array.dtype.kind == "c" else x
    return x.conjugate()


absorb: Op = arithmetic(
    "absorb",
    lambda xp, x, a: x * xp.where(x == 0, x, a),  # a product 0·inf would be a warning
    vjp=dict(x=lambda g, a: absorb(g, conj_of(a)), a=lambda g, x: _absorb_both(g, conj_of(x))),
)
"""x · a, but 0 where x is exactly 0, whatever a is: what keeps masked branches free of nan.

It is bilinear, and so are its rules. Where x is 0, the result does not depend on a: not even a
cotangent that is infinite makes it so.
"""

_absorb_both: Op = arithmetic(
    "absorb_both",
    lambda xp, x, y: xp.where(y == 0, y, x) * xp.where(x == 0, x, y),
    vjp=dict(
        x=lambda g, y: _absorb_both(g, conj_of(y)), y=lambda g, x: _absorb_both(g, conj_of(x))
    ),
)

where: Op = arithmetic(
    "where",
    lambda xp, condition, x, y: xp.where(condition, x, y),
    vjp=dict(
        x=lambda g, condition: where(condition, g, 0),
        y=lambda g, condition: where(condition, 0, g),
    ),
    promotes=("x", "y"),
)
"""x where condition is true, y elsewhere; the three broadcast. The other branch has gradient 0."""

add = arithmetic("add", lambda xp, x, y: x + y, vjp=dict(x=lambda g: g, y=lambda g: g))
"""x + y, broadcast, in the dtype of both together."""

subtract = arithmetic("subtract", lambda xp, x, y: x - y, vjp=dict(x=lambda g: g, y=lambda g: -g))
"""x - y, broadcast, in the dtype of both together."""

multiply = arithmetic(
    "multiply",
    lambda xp, x, y: x * y,
    vjp=dict(x=lambda g, y: g * conj_of(y), y=lambda g, x: g * conj_of(x)),
)
"""x · y, broadcast, in the dtype of both together."""


def _divide_x(g: Tensor, y: Any) -> Tensor:
    if isinstance(y, Tensor):
        return absorb(g, 1 / conj_of(y))
    return g / conj_of(y) if y else absorb(g, math.inf)


divide = arithmetic(
    "divide",
    lambda xp, x, y: x / y,
    vjp=dict(x=_divide_x, y=lambda g, out, y: absorb(g, conj_of(-out / y))),
    floating=True,
)
"""x / y, broadcast; integers become the default dtype."""

reciprocal = arithmetic(
    "reciprocal",
    lambda xp, x: xp.reciprocal(x),
    vjp=dict(x=lambda g, out: absorb(g, conj_of(absorb(out, -out)))),
    floating=True,
)
"""1 / x; integers become the default dtype."""

floor_divide = elementwise("floor_divide", lambda xp, x, y: x // y, vjp=dict(x=zero, y=zero))
"""The largest whole number not above x / y, broadcast; its derivative is 0."""

remainder = elementwise(
    "remainder",
    lambda xp, x, y: x % y,
    vjp=dict(x=lambda g: g, y=lambda g, x, y: absorb(g, -(x // y))),
)
"""x - y · floor(x / y), broadcast: of y's sign, as Python's %. Derivatives: 1 and -floor(x / y)."""


def _pow_x(g: Tensor, x: Tensor, y: Any) -> Tensor:
    if isinstance(y, Tensor):
        return absorb(g, absorb(y, x ** (y - 1)))  # absorb: x**0 is flat, at 0 as well
    if y == 2:
        return 2 * g * x  # 2 * x can be inf
    return zeros_like(g) if y == 0 else absorb(g, y * x ** (y - 1))


def _pow_y(g: Tensor, out: Tensor, x: Any, y: Tensor) -> Tensor:
    x = x if isinstance(x, Tensor) else zeros_like(y) + x
    flat = logical_and(equal(x, 0), greater_equal(y, 0))  # 0**y is 0 for every y > 0
    # absorb again: where g is 0, the nan of a negative base must not come back at second order.
    return absorb(g, absorb(out, log(where(flat, 1, x))))


def _pow_forward(xp: Any, x: Any, y: Any) -> Any:
    if xp.lenient:
        refuse_negative_powers(xp, x, y)
    return x**y


pow = elementwise("pow", _pow_forward, vjp=dict(x=_pow_x, y=_pow_y))
"""x to the power y, broadcast.

Derivatives: y · xʸ⁻¹, for y = 0 exactly 0; xʸ · log x, at x = 0 exactly 0, of x < 0 nan.
"""

square = arithmetic(
    "square", lambda xp, x: xp.square(x), vjp=dict(x=lambda g, x: 2 * g * conj_of(x))
)
"""x · x."""

positive = arithmetic("positive", lambda xp, x: +x, vjp=dict(x=lambda g: g))
"""+x, a copy."""

negative = arithmetic("negative", lambda xp, x: -x, vjp=dict(x=lambda g: -g))
"""-x."""

real: Op = arithmetic(
    "real",
    lambda xp, x: xp.array(xp.real(x), copy=True),
    vjp=dict(x=lambda g, x_dtype: astype(g, x_dtype, copy=False)),
)
"""The real part; a copy of what is real."""

imag: Op = arithmetic(
    "imag",
    lambda xp, x: xp.array(xp.imag(x), copy=True),
    vjp=dict(x=lambda g, x_dtype: g * 1j if x_dtype.kind == "c" else zeros_like(g)),
)
"""The imaginary part, 0 of what is real."""


def _direction(x: Tensor) -> Tensor:
    """x / |x|, of which 0 has none: 0."""
    if x.dtype.kind != "c":
        return sign(x)
    size = abs(x)
    return where(equal(size, 0), 0, x / where(equal(size, 0), 1, size))


abs = arithmetic("abs", lambda xp, x: xp.abs(x), vjp=dict(x=lambda g, x: g * _direction(x)))
"""|x|, of complex numbers the modulus; the derivative at 0 is 0."""

sign: Op = elementwise("sign", lambda xp, x: xp.sign(x), vjp=dict(x=zero))
"""-1, 0 or 1, of complex numbers x / |x|, nan for nan; the derivative is 0."""

exp = arithmetic(
    "exp",
    lambda xp, x: xp.exp(x),
    vjp=dict(x=lambda g, out: absorb(g, conj_of(out))),
    floating=True,
)
"""e to the power x; integers become the default dtype."""

log: Op = elementwise(
    "log", lambda xp, x: xp.log(x), vjp=dict(x=lambda g, x: absorb(g, 1 / x)), floating=True
)
"""The natural logarithm: -inf at 0, nan below; integers become the default dtype."""

sqrt = elementwise(
    "sqrt", lambda xp, x: xp.sqrt(x), vjp=dict(x=lambda g, out: absorb(g, 0.5 / out)), floating=True
)
"""The square root: nan below 0, the derivative at 0 inf; integers become the default dtype."""

tanh = elementwise(
    "tanh",
    lambda xp, x: xp.tanh(x),
    vjp=dict(x=fused("tanh_backward", lambda g, out: g * (1 - out * out))),
    floating=True,
)
"""The hyperbolic tangent, derivative 1 - tanh²; integers become the default dtype."""


def _sigmoid_forward(xp: Any, x: Any) -> Any:
    small = xp.exp(-xp.abs(x))  # at most 1: exp(-x) would overflow
    return xp.where(x >= 0, 1, small) / (1 + small)


sigmoid = elementwise(
    "sigmoid",
    of_reals(_sigmoid_forward),
    vjp=dict(x=fused("sigmoid_backward", lambda g, out: g * (out * (1 - out)))),
    floating=True,
)
"""1 / (1 + exp(-x)) without overflow, derivative s · (1 - s); integers become the default dtype."""

relu = elementwise(
    "relu",
    of_reals(lambda xp, x: xp.maximum(x, 0)),
    vjp=dict(x=fused("relu_backward", lambda g, out: where(less_equal(out, 0), 0, g))),
)
"""max(x, 0); the derivative at 0 is 0."""
