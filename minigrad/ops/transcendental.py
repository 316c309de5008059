"""Circular and hyperbolic functions, their inverses, and what is near exp and log.

Integers become the default dtype, as in `exp`. Complex inputs have values, no derivatives. The
derivatives are those of NIST's Digital Library of Mathematical Functions, sections 4.20, 4.24, 4.34
and 4.38, but written so that they neither overflow nor cancel: hypot(1, x) for √(1 + x²),
(1 - x)(1 + x) for 1 - x².
"""

import math
from functools import partial
from typing import Any

from ..engine import Op, Tensor
from .elementwise import absorb, elementwise, exp, sqrt, where
from .predicates import equal
from .reals import of_reals

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "exp2",
    "expm1",
    "hypot",
    "log1p",
    "log2",
    "log10",
    "sin",
    "sinh",
    "tan",
]

transcendental = partial(elementwise, floating=True)

sin: Op = transcendental("sin", lambda xp, x: xp.sin(x), vjp=dict(x=lambda g, x: absorb(g, cos(x))))
"""The sine of x in radians, nan at ±inf; derivative cos x."""

cos: Op = transcendental(
    "cos", lambda xp, x: xp.cos(x), vjp=dict(x=lambda g, x: absorb(g, -sin(x)))
)
"""The cosine of x in radians, nan at ±inf; derivative -sin x."""

tan = transcendental(
    "tan", lambda xp, x: xp.tan(x), vjp=dict(x=lambda g, out: absorb(g, 1 + out * out))
)
"""The tangent of x in radians; derivative 1 + tan² x."""

asin = transcendental(
    "asin",
    lambda xp, x: xp.asin(x),
    vjp=dict(x=lambda g, x: absorb(g, 1 / sqrt((1 - x) * (1 + x)))),
)
"""The angle in [-π/2, π/2] whose sine is x, nan outside [-1, 1].

Derivative 1 / √(1 - x²), at -1 and 1 inf.
"""

acos = transcendental(
    "acos",
    lambda xp, x: xp.acos(x),
    vjp=dict(x=lambda g, x: absorb(g, -1 / sqrt((1 - x) * (1 + x)))),
)
"""The angle in [0, π] whose cosine is x, nan outside [-1, 1].

Derivative -1 / √(1 - x²), at -1 and 1 -inf.
"""


def _atan_x(g: Tensor, x: Tensor) -> Tensor:
    root = hypot(1, x)
    return absorb(g, 1 / root / root)


atan = transcendental("atan", lambda xp, x: xp.atan(x), vjp=dict(x=_atan_x))
"""The angle in [-π/2, π/2] whose tangent is x; derivative 1 / (1 + x²)."""


def _or_inf(radius: Tensor) -> Tensor:
    """The radius as a divisor: what is divided by 0 at the origin, to any order, is 0."""
    return where(equal(radius, 0), math.inf, radius)


def _over_square(x: Any, y: Any) -> Any:
    """x / (x² + y²)."""
    radius = _or_inf(hypot(x, y))
    return x / radius / radius


atan2 = transcendental(
    "atan2",
    of_reals(lambda xp, y, x: xp.atan2(y, x)),
    vjp=dict(
        y=lambda g, y, x: absorb(g, _over_square(x, y)),
        x=lambda g, y, x: absorb(g, -_over_square(y, x)),
    ),
)
"""The angle in [-π, π] of the point (x, y), broadcast; note the order: atan2(y, x).

Derivatives x / (x² + y²) and -y / (x² + y²), at the origin 0.
"""

hypot: Op = transcendental(
    "hypot",
    of_reals(lambda xp, x, y: xp.hypot(x, y)),
    vjp=dict(
        x=lambda g, x, out: absorb(g, x / _or_inf(out)),
        y=lambda g, y, out: absorb(g, y / _or_inf(out)),
    ),
)
"""√(x² + y²) without overflow on the way, broadcast.

Derivatives x / hypot and y / hypot, at the origin 0.
"""

sinh: Op = transcendental(
    "sinh", lambda xp, x: xp.sinh(x), vjp=dict(x=lambda g, x: absorb(g, cosh(x)))
)
"""The hyperbolic sine; derivative cosh x."""

cosh: Op = transcendental(
    "cosh", lambda xp, x: xp.cosh(x), vjp=dict(x=lambda g, x: absorb(g, sinh(x)))
)
"""The hyperbolic cosine; derivative sinh x."""

asinh = transcendental(
    "asinh", lambda xp, x: xp.asinh(x), vjp=dict(x=lambda g, x: absorb(g, 1 / hypot(1, x)))
)
"""The number whose hyperbolic sine is x; derivative 1 / √(1 + x²)."""

acosh = transcendental(
    "acosh",
    lambda xp, x: xp.acosh(x),
    vjp=dict(x=lambda g, x: absorb(g, 1 / sqrt(x - 1) / sqrt(x + 1))),
)
"""The number from 0 up whose hyperbolic cosine is x, nan below 1.

Derivative 1 / (√(x - 1) √(x + 1)), at 1 inf.
"""

atanh = transcendental(
    "atanh",
    lambda xp, x: xp.atanh(x),
    vjp=dict(x=lambda g, x: absorb(g, 1 / ((1 - x) * (1 + x)))),
)
"""The number whose hyperbolic tangent is x: infinite at -1 and 1, nan beyond.

Derivative 1 / (1 - x²), at -1 and 1 inf.
"""

expm1 = transcendental(
    "expm1", lambda xp, x: xp.expm1(x), vjp=dict(x=lambda g, x: absorb(g, exp(x)))
)
"""exp(x) - 1, exact for small x as well; derivative exp x."""

log1p = transcendental(
    "log1p", lambda xp, x: xp.log1p(x), vjp=dict(x=lambda g, x: absorb(g, 1 / (1 + x)))
)
"""log(1 + x), exact for small x as well: -inf at -1, nan below; derivative 1 / (1 + x)."""

exp2 = transcendental(
    "exp2", lambda xp, x: xp.exp2(x), vjp=dict(x=lambda g, out: absorb(g, math.log(2) * out))
)
"""2 to the power x; derivative 2ˣ log 2."""

log2 = transcendental(
    "log2", lambda xp, x: xp.log2(x), vjp=dict(x=lambda g, x: absorb(g, math.log2(math.e) / x))
)
"""The logarithm to base 2: -inf at 0, nan below; derivative log₂e / x."""

log10 = transcendental(
    "log10", lambda xp, x: xp.log10(x), vjp=dict(x=lambda g, x: absorb(g, math.log10(math.e) / x))
)
"""The logarithm to base 10: -inf at 0, nan below; derivative log₁₀e / x."""
