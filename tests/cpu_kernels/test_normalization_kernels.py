"""Normalizations on the CPU."""

import numpy as np
import pytest
from contract import (
    COMPILED,
    TOLERANCE,
    assert_declines,
    assert_same,
    bits_of,
    computed,
    cpu,
    floats,
    random,
    referenced,
    to,
)

normalization = cpu.normalization
INF, NAN = np.inf, np.nan

# Shapes of x and of the weights, and the axis: every way of walking, and seams between blocks.
LONG = normalization.BLOCK + 3 if COMPILED else 5
MANY = 2 * normalization.SAMPLES + 3 if COMPILED else 5
WIDE = normalization.STRIPE + 3 if COMPILED else 5
NORMS = {
    "layer": ((MANY, 7), (7,), (1,)),
    "layer over two axes": ((3, 1, 4, 5), (4, 5), (2, 3)),
    "layer of long rows": ((3, LONG), (LONG,), (1,)),
    "group": ((MANY, 2, 3, 4), (2, 3, 1), (2, 3)),
    "group of long rows": ((2, 2, 2, LONG), (2, 2, 1), (2, 3)),
    "instance": ((3, 4, 9), (4, 1), (2,)),
    "batch of images": ((MANY, 3, 2, 2), (3, 1, 1), (0, 2, 3)),
    "batch of a matrix": ((MANY, WIDE), (WIDE,), (0,)),
    "batch of one": ((1, 3, 4), (3, 1), (0, 2)),
    "everything": ((3, 4), (3, 4), (0, 1)),
    "nothing": ((3, 4), (4,), ()),
    "a weight of one": ((3, 4), (1,), (1,)),
}
each_norm = pytest.mark.parametrize("norm", NORMS)


def normalize_call(norm, dtype):
    shape, factors, axis = NORMS[norm]
    arrays = [random(*s, seed=i, dtype=dtype) for i, s in enumerate((shape, factors, factors))]
    return arrays, dict(axis=axis, eps=1e-3, shape=None)


def of_rms(params):
    return {name: params[name] for name in ("axis", "eps")}


def backward_call(norm, dtype, wanted=("x", "weight", "bias")):
    (x, weight, bias), params = normalize_call(norm, dtype)
    _, mean, var = referenced("normalize", [x, weight, bias], params)
    arrays = [random(*x.shape, seed=5, dtype=dtype), None, None, x, weight, mean, var]
    return arrays, dict(bias_shape=bias.shape, wanted=wanted) | params


def rms_backward_call(norm, dtype):
    (x, weight, _), params = normalize_call(norm, dtype)
    params = of_rms(params)
    _, square = referenced("rms_normalize", [x, weight], params)
    arrays = [random(*x.shape, seed=5, dtype=dtype), None, x, weight, square]
    return arrays, dict(wanted=("x", "weight")) | params


@floats
@each_norm
def test_every_norm_forward(norm, dtype):
    (x, weight, bias), params = normalize_call(norm, dtype)
    for arrays in ([x, weight, bias], [x, weight, None], [x, None, bias], [x, None, None]):
        found = computed("normalize", arrays, params)
        assert_same(found, referenced("normalize", arrays, params), 2 * TOLERANCE[dtype])
    if "batch of" not in norm:
        params = of_rms(params)
        found = computed("rms_normalize", [x, weight], params)
        assert_same(found, referenced("rms_normalize", [x, weight], params), 2 * TOLERANCE[dtype])


def assert_about(found, wanted, dtype):
    """Sums of many numbers: their rounding is measured by their size."""
    for x, y in zip(found, wanted, strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_allclose(x, y, rtol=0, atol=8 * TOLERANCE[dtype] * (1 + np.abs(y).max()))


@floats
@each_norm
def test_every_norm_backward(norm, dtype):
    for wanted in [("x", "weight", "bias"), ("x",), ("weight",), ("bias",), ("x", "bias")]:
        arrays, params = backward_call(norm, dtype, wanted)
        assert_about(
            computed("normalize_backward", arrays, params),
            referenced("normalize_backward", arrays, params),
            dtype,
        )
    arrays[4] = None
    found = computed("normalize_backward", arrays, params)
    assert_about(found, referenced("normalize_backward", arrays, params), dtype)
    if "batch of" not in norm:
        arrays, params = rms_backward_call(norm, dtype)
        found = computed("rms_normalize_backward", arrays, params)
        assert_about(found, referenced("rms_normalize_backward", arrays, params), dtype)


@floats
@each_norm
def test_an_infinite_weight(norm, dtype):
    arrays, params = backward_call(norm, dtype, ("x",))
    arrays[4].flat[0] = INF
    (found,) = computed("normalize_backward", arrays, params)
    (wanted,) = referenced("normalize_backward", arrays, params)
    # Sums of infinite terms may be nan or infinite.
    found, wanted = (np.where(np.isfinite(dx), dx, NAN) for dx in (found, wanted))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=100 * TOLERANCE[dtype])


DECLINED = [
    *[("normalize", i, to(np.float16)) for i in range(3)],
    ("normalize", 0, to(np.float64)),
    ("normalize", 2, lambda bias: bias[:1]),
    *[("normalize_backward", i, to(np.float16)) for i in (0, 3, 4)],
    ("normalize_backward", 1, lambda _: np.ones((2, 1), np.float32)),
    ("normalize_backward", 2, lambda _: np.ones((2, 1), np.float32)),
    ("rms_normalize_backward", 1, lambda _: np.ones((2, 1), np.float32)),
]


@pytest.mark.parametrize(("name", "position", "change"), DECLINED)
def test_declines_and_leaves_everything_as_it_was(name, position, change):
    make = {
        "normalize": normalize_call,
        "normalize_backward": backward_call,
        "rms_normalize_backward": rms_backward_call,
    }[name]
    arrays, params = make("layer", np.float32)
    arrays[position] = change(arrays[position])
    assert_declines(name, arrays, params)


UNKNOWN = [
    ((2, 3, 4), (4,), (1,)),  # kept on both sides
    ((2, 3, 4), (2, 1, 1), (2,)),  # weights for some of the rows only
    ((2, 3, 4), (3, 1), (0,)),
    ((2, 3, 4), (4,), (1, 2)),  # for the last of two reduced axes
    ((2, 3, 4), (2, 1, 1), (0, 2)),  # for a reduced axis before those kept
    ((2, 3, 4), (4,), (0, 2)),
]


@pytest.mark.parametrize(("shape", "factors", "axis"), UNKNOWN, ids=str)
def test_axes_and_weights_of_no_usual_norm_are_left_to_the_reference(shape, factors, axis):
    x, weight = random(*shape), random(*factors)
    assert_declines("normalize", [x, weight, weight], dict(axis=axis, eps=0.1, shape=None))


@floats
@pytest.mark.parametrize("norm", ["group", "group of long rows"])
def test_groups_of_channels_are_those_of_the_grouped_array(norm, dtype):
    (g, *no, x, weight, mean, var), params = backward_call(norm, dtype)
    merged = (x.shape[0], -1, x.shape[3])
    seen = params | {"shape": x.shape}
    found = computed("normalize_backward", [g, *no, x, weight, mean, var], params)
    arrays = [g.reshape(merged), *no, x.reshape(merged), weight, mean, var]
    dx, *others = computed("normalize_backward", arrays, seen)
    assert bits_of([dx, *others]) == bits_of(found)
    assert dx.shape == arrays[0].shape
    of_forward = {name: seen[name] for name in ("axis", "eps", "shape")}
    out, *others = computed("normalize", [arrays[3], weight, None], of_forward)
    found = computed("normalize", [x, weight, None], of_forward | {"shape": None})
    assert bits_of([out, *others]) == bits_of(found)
    assert out.shape == arrays[0].shape


@floats
@pytest.mark.parametrize("norm", ["layer of long rows", "batch of images", "batch of a matrix"])
def test_a_large_common_part_costs_no_digits(norm, dtype):
    (x, weight, bias), params = normalize_call(norm, dtype)
    x += dtype(1e4)
    out, _, var = computed("normalize", [x, weight, bias], params)
    wide = x.astype(np.longdouble)
    axis = params["axis"]
    np.testing.assert_allclose(var, wide.var(axis, keepdims=True), rtol=10 * TOLERANCE[dtype])
    unit = (wide - wide.mean(axis, keepdims=True)) / np.sqrt(wide.var(axis, keepdims=True) + 1e-3)
    np.testing.assert_allclose(out, unit * weight + bias, atol=10 * TOLERANCE[dtype])


@floats
@each_norm
def test_equal_values_become_the_bias(norm, dtype):
    (x, weight, bias), params = normalize_call(norm, dtype)
    x[...] = 1000.3
    out, mean, var = computed("normalize", [x, weight, bias], params)
    assert (out == bias).all()
    assert (mean == dtype(1000.3)).all()
    assert not var.any()


@floats
@pytest.mark.parametrize("broken", [NAN, INF, -INF])
@each_norm
def test_what_is_not_finite_breaks_its_own_row_alone(norm, broken, dtype):
    (x, weight, bias), params = normalize_call(norm, dtype)
    for place in (0, x.size // 2):
        x = x.copy()
        x.flat[place] = broken
        for name, arrays, its in (
            ("normalize", [x, weight, bias], params),
            ("rms_normalize", [x, weight], of_rms(params)),
        ):
            with np.errstate(all="ignore"):
                found = computed(name, arrays, its)
            if found is not None:
                assert_same(found, referenced(name, arrays, its), TOLERANCE[dtype])


@floats
@each_norm
def test_huge_numbers_break_their_own_row_alone(norm, dtype):
    (x, weight, bias), params = normalize_call(norm, dtype)
    x.flat[0] = np.finfo(dtype).max
    with np.errstate(all="ignore"):
        found = computed("normalize", [x, weight, bias], params)
    # What overflows may become nan or infinite.
    wanted = referenced("normalize", [x, weight, bias], params)
    found, wanted = ([np.nan_to_num(a, posinf=0, neginf=0) for a in r] for r in (found, wanted))
    assert_same(found, wanted, TOLERANCE[dtype])


@floats
@pytest.mark.parametrize("broken", [NAN, INF, -INF])
@each_norm
def test_a_cotangent_that_is_not_finite(norm, broken, dtype):
    arrays, params = backward_call(norm, dtype)
    arrays[0].flat[1] = broken
    with np.errstate(all="ignore"):
        found = computed("normalize_backward", arrays, params)
    for x, y in zip(found, referenced("normalize_backward", arrays, params), strict=True):
        np.testing.assert_array_equal(np.isfinite(x), np.isfinite(y))
        np.testing.assert_array_equal(np.isnan(x), np.isnan(y))


@floats
def test_the_gradient_of_the_bias_of_many_rows_is_exact(dtype):
    n = 70_000 if COMPILED else 130
    g = np.full((n, 2), 1.1, dtype)
    for shape, axis in (((n, 2), (1,)), ((n, 2), (0,))):
        rows = tuple(1 if i in axis else k for i, k in enumerate(shape))
        arrays = [g, None, None, g, None, np.zeros(rows, dtype), np.ones(rows, dtype)]
        params = dict(bias_shape=(2,), axis=axis, eps=0.0, shape=None, wanted=("bias",))
        (dbias,) = computed("normalize_backward", arrays, params)
        np.testing.assert_allclose(dbias, n * np.float64(dtype(1.1)), rtol=TOLERANCE[dtype])


def test_a_row_has_the_same_bits_wherever_it_stands():
    (x, weight, bias), params = normalize_call("layer", np.float32)
    out, _, _ = computed("normalize", [x, weight, bias], params)
    alone, _, _ = computed("normalize", [x[3:5], weight, bias], params)
    assert bits_of([out[3:5]]) == bits_of([alone])
