"""Elementwise functions in pieces: rounding and signs. Derivatives hold between the jumps."""

from typing import Any

from ..engine import Tensor
from .elementwise import elementwise, sign, zero

__all__ = [
    "ceil",
    "copysign",
    "floor",
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

_round = elementwise(
    "round", lambda xp, x, *, decimals: xp.round(x, decimals=decimals), vjp=dict(x=zero)
)


def round(x: Any, decimals: int = 0) -> Tensor:
    """x rounded to a number of decimals, to tens where that is -1; halves go to the even side.

    Integers stay integers, complex numbers are rounded by parts. The derivative is 0.
    """
    return _round(x, decimals=decimals)


copysign = elementwise(
    "copysign",
    lambda xp, x, y: xp.copysign(x, y),
    vjp=dict(x=lambda g, x, out: g * (sign(x) * sign(out)), y=zero),
    floating=True,
)
"""|x| with the sign of y, that of -0 and nan too, broadcast; integers become the default dtype.

Derivatives ±1, at x = 0 0; and 0.
"""

nextafter = elementwise(
    "nextafter",
    lambda xp, x, y: xp.nextafter(x, y),
    vjp=dict(x=lambda g: g, y=zero),
    floating=True,
)
"""The number of the dtype next to x in the direction of y, broadcast; derivatives 1 and 0."""
