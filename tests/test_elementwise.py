"""Elementwise functions on every dtype, and their derivatives where floats are large or tiny."""

import math

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg

pytestmark = pytest.mark.usefixtures("on_each_backend")

INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
FLOATS = ["float16", "float32", "float64"]
COMPLEX = ["complex64", "complex128"]
REAL = INTEGERS + FLOATS
NUMERIC = REAL + COMPLEX
BITS = ["bool", *INTEGERS]
ALL = BITS + FLOATS + COMPLEX

#: name -> where it is defined; of integers in the default dtype
FUNCTIONS = {
    **dict.fromkeys("sin cos tan asin atan sinh cosh tanh asinh exp expm1 log1p exp2".split(), 0.5),
    **dict.fromkeys("acos log log2 log10 sqrt reciprocal".split(), 0.75),
    "acosh": 1.5,
    "atanh": 0.25,
}

#: name -> the dtypes that the standard has it for; the result has the dtype of the input
KEEPING = {
    **dict.fromkeys(("floor", "ceil", "trunc"), REAL),
    **dict.fromkeys(("round", "sign", "square", "positive", "conj"), NUMERIC),
    "negative": [dtype for dtype in NUMERIC if "uint" not in dtype],
}

#: name -> dtypes, of functions of two operands of one dtype
BINARY = {
    **dict.fromkeys(("add", "subtract", "multiply", "pow"), NUMERIC),
    **dict.fromkeys(("remainder", "floor_divide", "maximum", "minimum"), REAL),
    **dict.fromkeys(("atan2", "hypot", "copysign", "nextafter"), FLOATS),
    "divide": FLOATS + COMPLEX,
    **dict.fromkeys(("bitwise_left_shift", "bitwise_right_shift"), INTEGERS),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor"), BITS),
}


def over(table):
    return [(name, dtype) for name, dtypes in table.items() for dtype in dtypes]


def numbers(dtype):
    """Return numbers of both signs where the dtype has them, halves and parts in two directions."""
    dtype = np.dtype(dtype)
    values = np.array([[1, 3, 2.5], [7, 0.5, 100]])
    if dtype.kind in "ifc":
        values = values * [[1, -1, -1], [-1, 1, 1]]
    return (values * (1 - 0.5j) if dtype.kind == "c" else values).astype(dtype)


def assert_equal(found, expected):
    assert found.dtype == expected.dtype
    precision = {"f2": 2e-3, "f4": 1e-6, "c8": 1e-6}.get(expected.dtype.str[1:], 1e-14)
    np.testing.assert_allclose(
        found.numpy(), expected, precision if found.dtype.kind in "fc" else 0
    )


@pytest.mark.parametrize(("name", "dtype"), over(dict.fromkeys(FUNCTIONS, ALL)))
def test_functions_to_floats(name, dtype):
    at, dtype = FUNCTIONS[name], np.dtype(dtype)
    x = np.full((2, 3), 1 if dtype.kind in "biu" else at, dtype)
    if dtype.kind == "c":
        x = x + dtype.type(0.25j)
    with np.errstate(divide="ignore"):  # atanh(1)
        found = getattr(mg, name)(tensor(x))
        wide = x if dtype.kind in "fc" else x.astype(np.float32)
        assert_equal(found, getattr(np, name)(wide))


@pytest.mark.parametrize(("name", "dtype"), over(KEEPING))
def test_functions_that_keep_the_dtype(name, dtype):
    x = numbers(dtype)
    assert_equal(getattr(mg, name)(tensor(x)), getattr(np, name)(x))


@pytest.mark.parametrize("dtype", NUMERIC)
def test_abs_and_signbit(dtype):
    x = numbers(dtype)
    assert_equal(mg.abs(tensor(x)), np.abs(x))
    if dtype in FLOATS:
        assert_equal(mg.signbit(tensor(-x)), np.signbit(-x))


@pytest.mark.parametrize(("name", "dtype"), over(BINARY))
def test_functions_of_two_operands(name, dtype):
    x = numbers(dtype)
    y = np.array([[1, 2, 3]], dtype)
    x = np.abs(x) if name == "pow" and np.dtype(dtype).kind == "f" else x
    with np.errstate(over="ignore"):  # 100**3 in float16
        assert_equal(getattr(mg, name)(tensor(x), tensor(y)), getattr(np, name)(x, y))


def test_integers_of_the_extremes_are_not_rounded():
    for dtype in (np.int64, np.uint64):
        x = np.array([np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)
        for f in (mg.floor, mg.ceil, mg.trunc, mg.round):
            np.testing.assert_array_equal(f(tensor(x)).numpy(), x)


def test_round_to_decimals():
    x = tensor(np.array([0.125, -2.675, 1234.5]))
    for decimals in (1, 2, -2):
        expected = x.numpy().round(decimals)
        np.testing.assert_array_equal(mg.round(x, decimals).numpy(), expected)
        np.testing.assert_array_equal(x.round(decimals=decimals).numpy(), expected)
    assert tensor(np.array([15, 25, -5])).round(-1).tolist() == [20, 20, 0]


def test_integers_outside_their_range_are_no_bounds():
    x = np.array([0, 5, 255], np.uint8)
    for bounds in [(-1, 5), (5, 256), (-1, 256), (None, 10**30)]:
        found = mg.clip(tensor(x), *bounds)
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found.numpy(), np.clip(x, *bounds))
    with pytest.raises(OverflowError, match="256"):
        mg.clip(tensor(x), 256)


@pytest.mark.parametrize(
    "power",
    [
        lambda: tensor(np.array([2, 3])) ** -1,
        lambda: tensor(np.array([2, 3])) ** tensor(np.array([1, -2])),
        lambda: 2 ** tensor(np.array([1, -2])),
    ],
    ids=["number", "tensor", "reflected"],
)
def test_integers_have_no_negative_integer_powers(power):
    with pytest.raises(ValueError, match=r"[Ii]ntegers .* negative integer powers"):
        power().numpy()


@pytest.mark.parametrize("name", ["atan2", "hypot", "copysign", "nextafter"])
def test_what_is_of_real_numbers_refuses_complex_ones(name):
    x = tensor(np.array([1 + 1j]))
    with pytest.raises(TypeError, match=rf"^{name}: expected real numbers, not complex128"):
        getattr(mg, name)(x, x)


def test_complex_numbers_are_true_where_they_are_not_0():
    x = tensor(np.array([0, 1j]))
    assert mg.logical_not(x).tolist() == [True, False]
    assert mg.logical_and(x, 1j).tolist() == [False, True]
    assert mg.logical_or(x, tensor(np.array([False, True]))).tolist() == [False, True]
    assert mg.logical_xor(x, x).tolist() == [False, False]


def test_bools_have_no_sign():
    with pytest.raises(TypeError, match="sign"):
        mg.sign(tensor(np.array([True])))


@pytest.mark.parametrize(
    "make",
    [
        lambda x: mg.full_like(x, 300),
        lambda x: x.at[0].set(300),
        lambda x: x.__setitem__(0, 300),
        lambda x: mg.pad(x, 1, constant_values=300),
    ],
    ids=["full", "set", "setitem", "pad"],
)
def test_integers_that_do_not_fit_are_written_nowhere(make):
    with pytest.raises(OverflowError, match="300"):
        make(tensor(np.zeros(2, np.int8)))


def test_shifts_are_operators():
    x = tensor(np.array([1, -8]))
    assert (x << 2).tolist() == [4, -32] and (x >> 1).tolist() == [0, -4]
    n = tensor(np.array([3, 1]))
    assert (1 << n).tolist() == [8, 2] and (16 >> n).tolist() == [2, 8]
    x <<= 1
    x >>= n
    assert x.tolist() == [0, -8]
    with pytest.raises(TypeError, match=r"bitwise_left_shift.*y: 1.5"):
        x << 1.5


def test_the_sign_of_0_and_the_next_number():
    zeros = tensor(np.array([0.0, -0.0]))
    assert mg.signbit(mg.copysign(2.0, zeros)).tolist() == [False, True]
    for dtype in FLOATS:
        one = tensor(np.ones((), dtype))
        assert mg.nextafter(one, 2).item() == 1 + np.finfo(dtype).eps


# Derivatives of what is large or tiny


def root(dtype):
    """The square of ten times this number is beyond the dtype's range."""
    return np.finfo(dtype).max ** 0.5 / 2


#: (function, where, the derivative there) for a dtype's largest number, its root, its precision
FAR = {
    "asinh": (mg.asinh, lambda big, root, eps: [big / 2, -big / 2], lambda x: 1 / np.abs(x)),
    "acosh": (mg.acosh, lambda big, root, eps: [big / 2, 10 * root], lambda x: 1 / x),
    "atan": (mg.atan, lambda big, root, eps: [2 * root, -3 * root], lambda x: 1 / x / x),
    "atan, near": (mg.atan, lambda big, root, eps: [eps, 0.5], lambda x: 1 / (1 + x * x)),
    "hypot": (
        lambda x: mg.hypot(x, 0.75 * x.detach()),
        lambda big, root, eps: [big / 2, -big / 2, 10 * root, eps / 8, -eps / 8],
        lambda x: 0.8 * np.sign(x),
    ),
    "atan2": (
        lambda x: mg.atan2(x, x.detach()),
        lambda big, root, eps: [2 * root, -20 * root, eps * 8],
        lambda x: 0.5 / x,
    ),
    "atan2 of the other": (
        lambda x: mg.atan2(x.detach(), x),
        lambda big, root, eps: [2 * root, -20 * root, eps * 8],
        lambda x: -0.5 / x,
    ),
    "log10": (mg.log10, lambda big, root, eps: [big], lambda x: math.log10(math.e) / x),
    "log2": (mg.log2, lambda big, root, eps: [big], lambda x: math.log2(math.e) / x),
    "log1p": (mg.log1p, lambda big, root, eps: [eps / 8, eps - 1, big], lambda x: 1 / (1 + x)),
    "expm1": (mg.expm1, lambda big, root, eps: [eps / 8, -9.0], np.exp),
    "asin": (mg.asin, lambda big, root, eps: [1 - eps], lambda x: 1 / np.sqrt((1 - x) * (1 + x))),
    "acos": (mg.acos, lambda big, root, eps: [eps - 1], lambda x: -1 / np.sqrt((1 - x) * (1 + x))),
    "atanh": (mg.atanh, lambda big, root, eps: [1 - eps], lambda x: 1 / ((1 - x) * (1 + x))),
}


@pytest.mark.parametrize("name", FAR)
@pytest.mark.parametrize("dtype", FLOATS)
def test_derivatives_neither_overflow_nor_cancel(name, dtype):
    f, points, derivative = FAR[name]
    limits = np.finfo(dtype)
    at = np.array(points(limits.max, root(dtype), limits.eps), dtype)
    x = tensor(at, requires_grad=True)
    f(x).backward(mg.ones_like(x).detach())
    flushes = x.device == "cuda:0" and dtype == "float32"  # CuPy's kernels make 0 of subnormals
    np.testing.assert_allclose(
        x.grad.numpy(),
        derivative(at.astype(np.float64)),
        rtol=8 * limits.eps,
        atol=limits.smallest_normal if flushes else limits.smallest_subnormal,
    )
