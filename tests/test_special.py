"""The special functions: errors in ulp, special values, symmetries, where the numbers come from."""

import math

import numpy as np
import pytest
from on_backend import tensor
from samples import DOUBLE, FLOATS, HALF, SINGLE

import minigrad as mg
from minigrad.autograd import grad
from minigrad.ops import special

INF, NAN = math.inf, math.nan

on_each_backend = pytest.mark.usefixtures("on_each_backend")

# Errors


def in_many_digits(name):
    """A function by mpmath: beside it, SciPy's of float64 have errors that are no smaller."""
    mp = pytest.importorskip("mpmath", reason="measures float64 beside mpmath").mp.clone()
    mp.dps = 40
    functions = {
        "lgamma": lambda x: mp.log(abs(mp.gamma(x))),
        "digamma": lambda x: mp.psi(0, x),
        "trigamma": lambda x: mp.psi(1, x),
        "sinc": mp.sincpi,
    }
    f = functions.get(name) or getattr(mp, name)
    return np.vectorize(lambda x: f(mp.mpf(float(x))), otypes=[object])


def in_double(name):
    """A function by SciPy in float64: of the smaller types it is exact."""
    scipy = pytest.importorskip("scipy.special", reason="measures float32 beside SciPy")
    names = {
        "lgamma": scipy.gammaln,
        "digamma": scipy.psi,
        "trigamma": lambda x: scipy.polygamma(1, x),
        "sinc": np.sinc,
    }
    f = names.get(name) or getattr(scipy, name)
    return lambda x: f(x.astype(DOUBLE))


FUNCTIONS = {name: getattr(mg, name) for name in ("erf", "erfc", "lgamma", "digamma", "sinc")}
FUNCTIONS["trigamma"] = lambda x: mg.polygamma(1, x)

# The largest errors in ulp of float64 and float32 in an interval. floor: the ulp is at least that
# of this number, where it is the absolute error that is small.
LIMITS = [
    ("erf", (-1, 1), 1.2, 1.2, 0),
    ("erf", (-7, 7), 1.2, 1.2, 0),
    ("erfc", (-7, 1), 4, 4, 0),
    ("erfc", (1, 10.1), 4, 4, 0),
    ("erfc", (10, 28), 4, 4, 0),
    ("lgamma", (1e-9, 1), 4, 6, 0),
    ("lgamma", (1, 2), 10, 12, 0),
    ("lgamma", (2, 1e5), 3, 3, 0),
    ("lgamma", (-9.99, -0.01), 8, 16, 1),
    ("digamma", (1e-9, 3), 7, 7, 1),
    ("digamma", (3, 1e5), 6, 6, 0),
    ("digamma", (-9.99, -0.01), 9, 9, 1),
    ("trigamma", (1e-9, 3), 6, 6, 0),
    ("trigamma", (3, 1e5), 6, 6, 0),
    ("trigamma", (-9.99, -0.01), 7, 7, 0),
    ("sinc", (-0.9, 0.9), 3, 3, 0),
    ("sinc", (0.9, 1e5), 3, 3, 1e-3),
]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(
    ("name", "interval", "double", "single", "floor"),
    LIMITS,
    ids=lambda part: str(part) if isinstance(part, str | tuple) else "",
)
def test_errors_are_a_few_ulp(name, interval, double, single, floor, dtype):
    largest = float(np.finfo(dtype).max)
    x = np.linspace(*interval, 501 if dtype == DOUBLE else 20_011)
    x = x[np.abs(x) <= largest].astype(dtype)
    x = x[(x > 0) | (x != np.rint(x))]  # no poles
    value = (in_many_digits if dtype == DOUBLE else in_double)(name)(x)
    x, value = x[np.abs(value) <= largest], value[np.abs(value) <= largest]
    found = FUNCTIONS[name](mg.tensor(x)).numpy()
    size = np.maximum(np.abs(value.astype(DOUBLE)), floor).astype(dtype)
    errors = np.abs(found.astype(value.dtype) - value) / np.spacing(size).astype(DOUBLE)
    at = errors.argmax()
    assert errors[at] <= {DOUBLE: double, SINGLE: single, HALF: 0.501}[dtype], x[at]


# Where the coefficients come from


def rational(mp, f, low, high, above, below):
    """Return p (of degree above) and q (below) with f = p/q at Chebyshev nodes and q(0) = 1."""
    count = above + below + 1
    nodes = [mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    xs = [(low + high + (high - low) * node) / mp.mpf(2) for node in nodes]
    rows = [
        [x**j for j in range(above + 1)] + [-f(x) * x**j for j in range(1, below + 1)] for x in xs
    ]
    solution = list(mp.lu_solve(mp.matrix(rows), mp.matrix([f(x) for x in xs])))
    return solution[: above + 1], [1, *solution[above + 1 :]]


def scaled_erfc(mp, t):
    x = 4 * (1 + t) / (1 - t)
    return ((1 + 2 * x) * mp.exp(x * x) * mp.erfc(x) - 1) / (1 + t)


def binet(mp, t):
    z = 1 / mp.sqrt(t)
    return z * (mp.loggamma(z) - (z - 0.5) * mp.log(z) + z - mp.log(2 * mp.pi) / 2)


FITS = {
    "erf": (lambda mp, s: mp.erf(mp.sqrt(s)) / mp.sqrt(s) - 1, 0, 1, (11, 0), (6, 0)),
    "erfc": (scaled_erfc, -1, 0.75, (22, 0), (11, 0)),
    "lgamma": (lambda mp, d: mp.loggamma(2 + d) / d, -0.5, 1.5, (7, 7), (4, 3)),
    "binet": (binet, 0, 4 / 49, (8, 0), (2, 0)),
}
TABLES = {
    "erf": (special._ERF,),
    "erfc": (special._ERFC,),
    "lgamma": (special._LGAMMA, special._LGAMMA_BELOW),
    "binet": (special._BINET,),
}


@pytest.mark.parametrize("name", FITS)
def test_coefficients_are_those_of_the_interpolation(name):
    mp = pytest.importorskip("mpmath", reason="computes coefficients in 60 digits").mp.clone()
    mp.dps = 60
    f, low, high, *degrees = FITS[name]
    for dtype, degree in zip((np.float64, np.float32), degrees, strict=True):
        parts = rational(mp, lambda x: f(mp, x), low, high, *degree)
        for table, part in zip(TABLES[name], parts, strict=False):
            assert [dtype(c) for c in table[dtype]] == [dtype(float(c)) for c in part]


# Special values

TINY = 5e-324
SPECIAL_VALUES = [
    (mg.erf, [INF, -INF, 0.0, -0.0, 1e300, TINY, NAN], [1, -1, 0.0, -0.0, 1, TINY, NAN]),
    (mg.erfc, [INF, -INF, 0.0, -0.0, TINY, 1e300, NAN], [0, 2, 1, 1, 1, 0, NAN]),
    (mg.lgamma, [1, 2, INF, -INF, 0.0, -0.0, -3, -1e300], [0, 0, *[INF] * 6]),
    (mg.lgamma, [1e-300, -1e-300, TINY, NAN], [690.7755278982137] * 2 + [744.4400719213812, NAN]),
    (mg.digamma, [0.0, -0.0, -1, -1e300, INF, -INF, NAN], [-INF, INF, NAN, NAN, INF, NAN, NAN]),
    (lambda x: mg.polygamma(1, x), [0.0, -0.0, -2, INF, NAN], [INF, INF, INF, 0, NAN]),
    (lambda x: mg.polygamma(2, x), [0.0, -0.0, -2, INF, NAN], [-INF, INF, NAN, -0.0, NAN]),
    (mg.sinc, [0.0, -0.0, TINY, 1, -2, 1e300, INF, NAN], [1, 1, 1, 0, 0, 0, 0, NAN]),
    (mg.softplus, [INF, -INF, 1e300, -1e300, NAN], [INF, 0, 1e300, 0, NAN]),
    (mg.log_sigmoid, [INF, -INF, 1e300, -1e300, NAN], [-0.0, -INF, -0.0, -1e300, NAN]),
    (lambda x: mg.logaddexp(x, x), [INF, -INF], [INF, -INF]),
    (lambda x: mg.logaddexp(x, 1.0), [INF, -INF, 1e300, -1e300], [INF, 1, 1e300, 1]),
    (lambda x: mg.xlogy(0.0, x), [0.0, -1, INF, NAN], [0, 0, 0, NAN]),
    (lambda x: mg.xlogy(x, INF), [0.0, 1, -1, NAN], [0, INF, -INF, NAN]),
]


@on_each_backend
@pytest.mark.parametrize(("f", "x", "y"), SPECIAL_VALUES)
def test_special_values(f, x, y):
    with np.errstate(divide="ignore"):  # of poles, as of log(0)
        found = f(tensor(np.array(x, float))).numpy()
    np.testing.assert_array_equal(found, y)
    assert np.signbit(found[np.signbit(y)]).all()


def test_nan_goes_through_logaddexp():
    with np.errstate(invalid="ignore"):  # NumPy's own warning
        assert np.isnan(mg.logaddexp(tensor([NAN]), 1.0).numpy())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_symmetries(dtype):
    x = mg.tensor(np.linspace(0.01, 30, 5001, dtype=dtype))
    for left, right in [
        (mg.erf(-x), -mg.erf(x)),
        (mg.erfc(-x), 2 - mg.erfc(x)),
        (mg.sinc(-x), mg.sinc(x)),
        (mg.logaddexp(x, 2), mg.logaddexp(2, x)),
    ]:
        np.testing.assert_array_equal(left.numpy(), right.numpy())


@pytest.mark.parametrize("n", range(6))
def test_recurrence_of_polygamma(n):
    x = mg.tensor(np.linspace(-7.45, 7.45, 150))
    now, then = mg.polygamma(n, x).numpy(), mg.polygamma(n, x + 1).numpy()
    step = (-1) ** n * math.factorial(n) / x.numpy() ** (n + 1)
    assert (np.abs(then - now - step) <= 1e-13 * (np.abs(now) + np.abs(step) + 1)).all()


# Derivatives and dtypes


def derivatives(f, x, order):
    """Return the derivatives of f at x, from the first to that of the order."""
    x = tensor(np.array(x, float)).requires_grad_()
    y, found = f(x), []
    for _ in range(order):
        (y,) = grad(y.sum(), [x], create_graph=True)
        found.append(y.detach().numpy())
    return found


@on_each_backend
def test_sinc_is_smooth_at_0():
    first, second, third, fourth = derivatives(mg.sinc, [0.0, -0.0, 1e-300, 1e-9], 4)
    np.testing.assert_allclose(first, [0, 0, -(math.pi**2) / 3e300, -(math.pi**2) / 3e9], 1e-14)
    np.testing.assert_allclose(second, [-(math.pi**2) / 3] * 4, 1e-14)
    np.testing.assert_allclose(third, [0, 0, math.pi**4 / 5e300, math.pi**4 / 5e9], 1e-14)
    np.testing.assert_allclose(fourth, [math.pi**4 / 5] * 4, 1e-14)


@on_each_backend
def test_derivatives_of_sinc_join_where_the_formula_changes():
    for order in range(1, 5):
        below, above = derivatives(mg.sinc, [0.5 - 1e-15, 0.5 + 1e-15], order)[-1]
        assert below == pytest.approx(above, rel=1e-12 * 10**order)


@on_each_backend
def test_derivatives_of_lgamma_are_the_polygamma_functions():
    x = [-1.5, 0.3, 1.0, 7.0]
    for n, found in enumerate(derivatives(mg.lgamma, x, 4)):
        np.testing.assert_array_equal(found, mg.polygamma(n, np.array(x)).numpy())


@on_each_backend
@pytest.mark.parametrize(
    "f",
    [mg.lgamma, mg.digamma, lambda x: mg.xlogy(1, x), lambda x: mg.xlogy(x, x) / x],
    ids=["lgamma", "digamma", "xlogy", "quotient"],
)
def test_a_masked_pole_has_the_gradient_0(f):
    with np.errstate(all="ignore"):
        for found in derivatives(lambda x: mg.where(x > 0.5, f(x), x), [0.0, 0.25, 1.0], 2):
            assert np.isfinite(found).all()


@on_each_backend
def test_numbers_are_weak_and_integers_become_floats():
    for dtype in FLOATS:
        x = tensor(np.array([0.5, 2.0], dtype))
        for f in (mg.xlogy, mg.logaddexp):
            for y in (2, 0.5, np.float64(3)):
                assert f(x, y).dtype == f(y, x).dtype == dtype
                for args in ((x.detach(), y), (y, x.detach())):
                    for leaf in args:
                        if isinstance(leaf, mg.Tensor):
                            leaf.requires_grad = True
                            f(*args).sum().backward()
                            assert leaf.grad.dtype == dtype
    n = tensor(np.array([1, 2], np.uint8))
    for f in (mg.erf, mg.erfc, mg.lgamma, mg.digamma, mg.sinc, mg.softplus, mg.log_sigmoid):
        assert f(n).dtype == mg.get_default_dtype()
        np.testing.assert_allclose(f(n).numpy(), f(tensor([1.0, 2.0])).numpy(), 1e-6, 1e-6)


@on_each_backend
def test_log_sigmoid():
    x = np.array([-1000.0, -1.0, 0.0, 2.0, 1000.0])
    np.testing.assert_allclose(mg.log_sigmoid(tensor(x)).numpy(), -np.logaddexp(0, -x), 1e-15)
    first, second = derivatives(mg.log_sigmoid, x, 2)
    s = mg.sigmoid(mg.tensor(-x)).numpy()
    np.testing.assert_allclose(first, s, 1e-15)
    np.testing.assert_allclose(second, -s * (1 - s), 1e-15)
