"""Functions in pieces: rounding, signs, limits. Each says what holds where its pieces meet."""

from typing import Any

import numpy as np

from ..engine import Tensor
from .elementwise import absorb, elementwise, positive, sign, where, zero
from .predicates import equal, greater, greater_equal, less, less_equal, logical_and
from .reals import of_reals

__all__ = [
    "ceil",
    "clip",
    "copysign",
    "floor",
    "maximum",
    "minimum",
    "nextafter",
    "round",
    "trunc",
]

floor = elementwise("floor", lambda xp, x: xp.floor(x), vjp=dict(x=zero))
"""The largest whole number not above x; integers stay what they are. The derivative is 0."""

ceil = elementwise("ceil", lambda xp, x: xp.ceil(x), vjp=dict(x=zero))
"""The smallest whole number not below x; integers stay what they are. The derivative is 0."""

trunc = elementwise("trunc", lambda xp, x: xp.trunc(x), vjp=dict(x=zero))
"""x without its fraction, rounded to 0; integers stay what they are. The derivative is 0."""


def _round_forward(xp: Any, x: Any, *, decimals: int) -> Any:
    out = xp.round(x, decimals=decimals)
    return xp.array(out, copy=True) if out is x else out  # of integers, in NumPy 2.1


_round = elementwise("round", _round_forward, vjp=dict(x=zero))


def round(x: Any, /, decimals: int = 0) -> Tensor:
    """x rounded to a number of decimals, to tens where that is -1; halves go to the even side.

    Integers stay integers, complex numbers are rounded by parts. The derivative is 0.
    """
    return _round(x, decimals=decimals)


copysign = elementwise(
    "copysign",
    of_reals(lambda xp, x, y: xp.copysign(x, y)),
    vjp=dict(x=lambda g, x, out: absorb(g, sign(x) * sign(out)), y=zero),
    floating=True,
)
"""|x| with the sign of y, that of -0 and nan too, broadcast; integers become the default dtype.

Derivatives ±1, at x = 0 0; and 0.
"""

nextafter = elementwise(
    "nextafter",
    of_reals(lambda xp, x, y: xp.nextafter(x, y)),
    vjp=dict(x=lambda g: g, y=zero),
    floating=True,
)
"""The number of the dtype next to x in the direction of y, broadcast; derivatives 1 and 0."""


def _greater_part(g: Tensor, x: Any, y: Any) -> Tensor:
    """The cotangent of x in max(x, y): all of g where x is greater, half of it in a tie."""
    return where(equal(x, y), 0.5 * g, where(less(x, y), 0, g))  # a nan passes g on


maximum = elementwise(
    "maximum",
    lambda xp, x, y: xp.maximum(x, y),
    vjp=dict(x=_greater_part, y=lambda g, x, y: _greater_part(g, y, x)),
)
"""The greater of x and y, broadcast, nan where one is; in a tie each has half the gradient."""

minimum = elementwise(
    "minimum",
    lambda xp, x, y: xp.minimum(x, y),
    vjp=dict(x=lambda g, x, y: _greater_part(g, y, x), y=_greater_part),
)
"""The smaller of x and y, broadcast, nan where one is; in a tie each has half the gradient."""


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


def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """Limit x to [min, max]; the derivative at a bound is 1, and max wins where min > max.

    A Python integer outside the range of integers x is no bound.
    """
    dtype = getattr(x, "dtype", None)
    if dtype is not None and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        min = None if isinstance(min, int) and min <= limits.min else min
        max = None if isinstance(max, int) and max >= limits.max else max
    return positive(x) if min is None and max is None else _clip(x, min, max)
