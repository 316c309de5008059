"""Special functions that NumPy lacks, elementwise, with their derivatives.

Array code alone: each branch is computed for every element, on arguments that keep it finite, and
`where` chooses. float16 is computed in float32. The coefficients are rational interpolations at
Chebyshev nodes, made in 60 digits; tests/test_special.py makes them again, and measures the errors.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from numbers import Integral
from typing import Any

import numpy as np

from ..engine import Op, Tensor
from .creation import zeros_like
from .elementwise import absorb, elementwise, exp, log, sigmoid, where
from .fused import fused
from .predicates import equal, greater, isnan, less_equal, logical_and
from .reals import require_reals
from .reductions import narrowed, widened

__all__ = [
    "digamma",
    "erf",
    "erfc",
    "lgamma",
    "log_sigmoid",
    "logaddexp",
    "polygamma",
    "sinc",
    "softplus",
    "xlogy",
]

Coefficients = Mapping[Any, Sequence[float]]  # for each precision, from the constant term upwards


def on_reals(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward of one real x that is written for float32 and float64."""

    @wraps(forward)
    def run(xp: Any, x: Any, **params: Any) -> Any:
        require_reals(x)
        return narrowed(forward(xp, widened(x), **params), x)

    return run


def polynomial(x: Any, coefficients: Coefficients | Sequence[float]) -> Any:
    """Return Σ cᵢ xⁱ by Horner's rule; of a table, the coefficients for the precision of x."""
    if isinstance(coefficients, Mapping):
        coefficients = coefficients[x.dtype.type]
    value = coefficients[-1] * x + coefficients[-2]
    for c in coefficients[-3::-1]:
        value *= x  # in place: half the time at 1e5 numbers
        value += c
    return value


# The error function

# fmt: off
# erf(x) / x - 1 by x², for |x| ≤ 1
_ERF: Coefficients = {
    np.float32: (
        0.12837917, -0.37612626, 0.11283594, -0.026854211, 0.0051890872, -0.00080168643,
        7.875875e-05,
    ),
    np.float64: (
        0.12837916709551256, -0.37612638903183543, 0.11283791670945006, -0.02686617064323777,
        0.0052239776071164225, -0.0008548325975389692, 0.00012055294904839707,
        -1.492473690741966e-05, 1.6447424703317362e-06, -1.6208483801871705e-07,
        1.3720064546777686e-08, -7.795898827002142e-10,
    ),
}
# (f - 1) / (1 + t) by t = (x - 4) / (x + 4), where f = (1 + 2x) exp(x²) erfc(x) and 0 ≤ x ≤ 28:
# the map of Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x²) erfc x in
# 0 ≤ x < ∞", Mathematics of Computation 36 (1981)
_ERFC: Coefficients = {
    np.float32: (
        0.23299512, -0.3726162, 0.38799584, -0.31989977, 0.21886072, -0.12511854, 0.058790848,
        -0.02166152, 0.005445392, -0.0003391422, -0.00037368867, 0.00010773863,
    ),
    np.float64: (
        0.2329951186255525, -0.3726162354661151, 0.3879958875687353, -0.3198988333140297,
        0.21885976727770234, -0.12512693227980404, 0.05879656646798599, -0.021629050923235596,
        0.005431316862703661, -0.0003993469494909909, -0.0003584263375880644,
        0.00015916999139328894, -8.548227496442547e-06, -1.5852158818752647e-05,
        4.629551927796216e-06, 1.0826290477437223e-06, -7.870394809333829e-07,
        -4.136984018894299e-08, 1.1299329491373962e-07, -1.2246997021319789e-09,
        -1.4008206837507663e-08, -7.984199533884893e-11, 9.284095321024103e-10,
    ),
}
# fmt: on


def _erfc_of_positive(xp: Any, x: Any) -> Any:
    """erfc for 0 ≤ x ≤ 28."""
    above = 2 * x / (x + 4)  # 1 + t
    scaled = (1 + above * polynomial(above - 1, _ERFC)) / (1 + 2 * x)
    # A rounding error of x² would count x² times: 256·head is an integer, its square exact.
    head = xp.floor(x * 256) / 256
    square, rest = head * head, (x - head) * (x + head)
    total = square + rest
    gauss = xp.exp(-total)
    return scaled * (gauss - gauss * (square - total + rest))


@on_reals
def _erf_forward(xp: Any, x: Any) -> Any:
    x = xp.maximum(xp.minimum(x, 28), -28)  # where erfc is 0 in every precision
    size = xp.abs(x)
    near = x + x * polynomial(xp.minimum(x * x, 1), _ERF)
    return xp.where(size < 1, near, xp.copysign(1 - _erfc_of_positive(xp, size), x))


@on_reals
def _erfc_forward(xp: Any, x: Any) -> Any:
    above = _erfc_of_positive(xp, xp.minimum(xp.abs(x), 28))
    return xp.where(x < 0, 2 - above, above)


def _bell(x: Tensor) -> Tensor:
    """The derivative of erf: 2/√π · exp(-x²)."""
    return (2 / math.sqrt(math.pi)) * exp(-(x * x))


erf = elementwise(
    "erf",
    _erf_forward,
    vjp=dict(x=fused("erf_backward", lambda g, x: absorb(g, _bell(x)))),
    floating=True,
)
"""The error function 2/√π ∫₀ˣ exp(-t²) dt, to 1.2 ulp; integers become the default dtype."""

erfc = elementwise(
    "erfc",
    _erfc_forward,
    vjp=dict(x=fused("erfc_backward", lambda g, x: absorb(g, -_bell(x)))),
    floating=True,
)
"""1 - erf(x), to 4 ulp also where it is tiny; integers become the default dtype."""


# The gamma function

# fmt: off
# log Γ(2 + d) / d by d, for -1/2 ≤ d ≤ 3/2: numerator and denominator
_LGAMMA: Coefficients = {
    np.float32: (
        0.42278433, 0.6554875, 0.25997517, 0.027489189, 0.00022079138,
    ),
    np.float64: (
        0.42278433509846713, 1.0142913868147396, 0.9025100200553724, 0.3871309819984762,
        0.08481563537667026, 0.0090871929716529, 0.00040428939154206803, 4.718121593197299e-06,
    ),
}
_LGAMMA_BELOW: Coefficients = {
    np.float32: (
        1.0, 0.78768396, 0.17343438, 0.009540989,
    ),
    np.float64: (
        1.0, 1.6363528540609231, 1.045905521834143, 0.32993713621489845, 0.05339369028068342,
        0.004164746040638185, 0.0001290461347772699, 9.189046676749625e-07,
    ),
}
# z·(log Γ(z) - (z - 1/2) log z + z - log(2π) / 2) by 1/z², for z ≥ 7/2
_BINET: Coefficients = {
    np.float32: (
        0.08333333, -0.0027758577, 0.00072879496,
    ),
    np.float64: (
        0.08333333333333316, -0.0027777777774405867, 0.0007936506816628933, -0.0005952235546452214,
        0.0008407851926454375, -0.0018803146388783976, 0.005518189917190756, -0.015567826306981735,
        0.025861408973733006,
    ),
}
# fmt: on


_INTEGERS = 2.0**53  # all floats beyond are integers: where they are negative, poles


def _from_integer(xp: Any, x: Any) -> tuple[Any, Any]:
    """Return the integer nearest to x, and how far x is above it: -0 for -0, 0 for infinities."""
    x = xp.maximum(xp.minimum(x, _INTEGERS), -_INTEGERS)
    near = xp.rint(x)
    return near, xp.where(near == 0, x, x - near)


@on_reals
def _lgamma_forward(xp: Any, x: Any) -> Any:
    reflected = x < 0.5
    z = xp.where(reflected, 1 - xp.maximum(x, -_INTEGERS), x)
    shifted, stirling = z < 1.5, z >= 3.5
    logarithm = xp.log(z)
    # log Γ(z) = log Γ(z + 1) - log z: both sides are 0 at 1, so nothing is lost there.
    d = xp.minimum(xp.where(shifted, z - 1, z - 2), 1.5)
    near = d * polynomial(d, _LGAMMA) / polynomial(d, _LGAMMA_BELOW)
    inverse = 1 / z
    binet = inverse * polynomial(inverse * inverse, _BINET)
    far = (z - 0.5) * (logarithm - 1) + (math.log(2 * math.pi) - 1) / 2 + binet
    above = xp.where(stirling, far, near - xp.where(shifted, logarithm, 0))
    # Γ(x) Γ(1 - x) = π / sin(πx)
    _, r = _from_integer(xp, x)
    # (of a tiny r as it is: π times a subnormal number would lose digits)
    sine = xp.where(xp.abs(r) < 1e-9, xp.abs(r), xp.abs(xp.sin(math.pi * r)) / math.pi)
    return xp.where(reflected, -xp.log(xp.where(reflected, sine, 1)) - above, above)


lgamma = elementwise(
    "lgamma",
    _lgamma_forward,
    vjp=dict(x=lambda g, x: absorb(g, digamma(x))),
    floating=True,
)
"""log |Γ(x)|: inf at 0, -1, -2, ...; integers become the default dtype. Derivative: digamma.

To 12 ulp between its zeros 1 and 2, to 6 ulp at other x > 0; of a negative x the absolute error
is that of the two logarithms whose difference it is. Poles warn as log(0) does.
"""

_SHIFT = 8
# B₂ₖ / (2k)!, k = 1, 2, ...
_BERNOULLI = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
    -3617 / 10670622842880000,
)


def _cotangent(n: int) -> list[int]:
    """Return p, from the constant term, such that the nth derivative of cot y is p(cot y)."""
    p = [0, 1]
    for _ in range(n):
        slope = [i * c for i, c in enumerate(p)][1:]
        p = [-(a + b) for a, b in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    return p


@on_reals
def _polygamma_forward(xp: Any, x: Any, *, n: int) -> Any:
    reflected = x < 0.5
    z = xp.where(reflected, 1 - xp.maximum(x, -_INTEGERS), x)
    # (-1)ⁿ⁺¹ ψ⁽ⁿ⁾(z): eight steps of the recurrence, then Stirling's series
    inverse = 1 / (z + _SHIFT)
    scale = math.factorial(n)
    size = inverse**n * (scale / n) if n else -xp.log(z + _SHIFT)
    series = [c * math.factorial(2 * k + n - 1) for k, c in enumerate(_BERNOULLI, 1)]
    rest = inverse * (scale / 2) + polynomial(inverse * inverse, [0, *series])
    size = size + inverse**n * rest
    for i in reversed(range(_SHIFT)):
        size = size + scale * (1 / (z + i)) ** (n + 1)
    # ψ(1 - x) - ψ(x) = π cot(πx), differentiated n times
    _, r = _from_integer(xp, x)
    cot = 1 / xp.tan(math.pi * xp.where(reflected, r, 0.25))
    below = -size - math.pi ** (n + 1) * polynomial(cot, _cotangent(n))
    if n % 2 == 0:  # at a pole the sign depends on the side
        below = xp.where(xp.logical_and(r == 0, x < 0), xp.nan, below)
    return xp.where(reflected, below, size if n % 2 else -size)


_polygamma = elementwise(
    "polygamma",
    _polygamma_forward,
    vjp=dict(x=lambda g, x, n: absorb(g, polygamma(n + 1, x))),
    floating=True,
)


def polygamma(n: int, x: Any, /) -> Tensor:
    """The nth derivative of digamma, n ≥ 0; integers become the default dtype.

    At 0 it is infinite with the sign of that side; at -1, -2, ... nan for even n, inf for odd n.
    To 7 ulp for n ≤ 1; near zeros the error is that of the terms which cancel there.
    Recurrence, reflection and asymptotic series: NIST DLMF 5.15.2, 5.15.5, 5.15.6 and 5.15.8.
    """
    if not isinstance(n, Integral) or n < 0:
        raise ValueError(f"polygamma: n must be an integer of at least 0, got {n!r}")
    return _polygamma(x, n=int(n))


def digamma(x: Any, /) -> Tensor:
    """The derivative of log Γ: ∓inf at ±0, nan at -1, -2, ...; as `polygamma` for n = 0."""
    return polygamma(0, x)


# sin(πx) / (πx)

_NEAR_0 = 0.5


def _sinc_series(x: Any, order: int) -> Any:
    """Return the derivative for |x| ≤ 1/2: of sinc(x) = ∫₀¹ cos(πxt) dt, under the integral."""
    odd = order % 2
    terms = [
        (-1) ** ((i + order) // 2) / (math.factorial(i) * (i + order + 1))
        for i in range(odd, 22, 2)
    ]
    y = math.pi * x
    value = math.pi**order * polynomial(y * y, terms)
    return value * y if odd else value


@on_reals
def _sinc_forward(xp: Any, x: Any, *, order: int) -> Any:
    near, r = _from_integer(xp, x)
    sign = 1 - 2 * (near - 2 * xp.floor(near / 2))
    sine, cosine = sign * xp.sin(math.pi * r), sign * xp.cos(math.pi * r)
    small = xp.abs(x) < _NEAR_0
    divisor = xp.where(small, 1, x)
    value = sine / math.pi / divisor
    # k times differentiated: x · sinc(x) = sin(πx) / π
    for k in range(1, order + 1):
        turned = (sine, cosine, -sine, -cosine)[k % 4]
        value = (math.pi ** (k - 1) * turned - k * value) / divisor
    return xp.where(small, _sinc_series(xp.where(small, x, 0), order), value)


_sinc: Op = elementwise(
    "sinc",
    _sinc_forward,
    vjp=dict(x=lambda g, x, order: absorb(g, _sinc(x, order=order + 1))),
    floating=True,
)


def sinc(x: Any, /) -> Tensor:
    """sin(πx) / (πx), at 0 its limit 1, exactly 0 at other integers; integers become floats.

    To 3 ulp. The derivatives of any order hold at and around 0 as well.
    """
    return _sinc(x, order=0)


# Logarithms of sums


@on_reals
def _softplus_forward(xp: Any, x: Any, *, beta: float) -> Any:
    # exp(-1000) is 0 in every dtype: beta · x, which may overflow, is needed no further.
    far = min(1000 / beta, float(np.finfo(x.dtype).max))
    size = xp.minimum(xp.abs(x), far) * beta
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-size)) / beta


_softplus = elementwise(
    "softplus",
    _softplus_forward,
    vjp=dict(x=fused("softplus_backward", lambda g, x, *, beta: absorb(g, sigmoid(x * beta)))),
    floating=True,
)


def softplus(x: Any, /, beta: float = 1.0, threshold: float = math.inf) -> Tensor:
    """log(1 + exp(beta · x)) / beta without overflow; integers become the default dtype.

    threshold: x itself where beta · x is above it, as PyTorch has it from 20 on; here there is no
    need. Raises ValueError for a beta that is not above 0.
    """
    if not beta > 0:
        raise ValueError(f"softplus: beta must be above 0, got {beta}")
    out = _softplus(x, beta=float(beta))
    return out if threshold == math.inf else where(greater(x, threshold / beta), x, out)


def log_sigmoid(x: Any, /) -> Tensor:
    """log(sigmoid(x)) without overflow or log(0); integers become the default dtype."""
    return -softplus(x * -1.0)  # unsigned integers have no -x


def _share(g: Tensor, x: Any, y: Any) -> Tensor:
    """The cotangent of x in log(exp(x) + exp(y)): one half where both are one infinity."""
    gap = x - y
    return absorb(g, sigmoid(where(logical_and(equal(x, y), isnan(gap)), 0, gap)))


logaddexp = elementwise(
    "logaddexp",
    lambda xp, x, y: xp.logaddexp(x, y),
    vjp=dict(x=_share, y=lambda g, x, y: _share(g, y, x)),
    floating=True,
)
"""log(exp(x) + exp(y)) without overflow, broadcast; -inf is a 0 that is added.

Derivatives: the softmax of the two.
"""


# x log y


def _xlogy_forward(xp: Any, x: Any, y: Any) -> Any:
    # x + 1 is 1 where it is used, in the dtype of both; a nan is not equal to itself.
    factor = xp.where(xp.logical_and(x == 0, y == y), x + 1, y)
    return narrowed(x * xp.log(widened(factor)), factor)


def _tensor(x: Any, like: Tensor) -> Tensor:
    """Return x, or a number as a tensor of the same kind as another."""
    return x if isinstance(x, Tensor) else zeros_like(like) + x


def _xlogy_x(g: Tensor, x: Tensor, y: Any) -> Tensor:
    y = _tensor(y, x)
    return absorb(g, log(where(logical_and(equal(x, 0), less_equal(y, 0)), 1, y)))


def _xlogy_y(g: Tensor, x: Any, y: Tensor) -> Tensor:
    return absorb(g, absorb(_tensor(x, y), 1 / y))


xlogy = elementwise("xlogy", _xlogy_forward, vjp=dict(x=_xlogy_x, y=_xlogy_y), floating=True)
"""x · log y, broadcast, but 0 where x is 0 unless y is nan; integers become the default dtype.

Derivatives: log y, for x = 0 ≥ y exactly 0; x / y, for x = 0 exactly 0.
"""
