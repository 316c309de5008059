"""Running one call on NumPy arrays and on tensors, and comparing what comes out."""

import numpy as np

import minigrad as mg
from minigrad import backends


def numbers(shape, dtype, seed=0):
    """Return values of a dtype, both signs where it has them, small enough for every function."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind == "b":
        values = rng.random(shape) < 0.5
    elif dtype.kind in "iu":
        values = rng.integers(-4 if dtype.kind == "i" else 0, 6, shape)
    else:
        values = rng.normal(scale=2.0, size=shape)
        if dtype.kind == "c":
            values = values + 1j * rng.normal(scale=2.0, size=shape)
    return np.asarray(values, dtype)


def on(backend, value):
    """Return value with its arrays as tensors on a backend."""
    if isinstance(value, tuple | list):
        return type(value)(on(backend, v) for v in value)
    return mg.tensor(value, backend=backend) if isinstance(value, np.ndarray) else value


def hosted(value):
    """Return value with its tensors as arrays."""
    if isinstance(value, tuple | list):
        return [hosted(v) for v in value]
    return value.to_host()


def eps_on(backend, eps=0.0, on_a_gpu=64.0):
    """The error allowed on a backend: the bits of NumPy's own functions on the host's."""
    return eps or (on_a_gpu if backends.get(backend).device == "cuda:0" else 0.0)


def assert_alike(found, expected):
    """Fail unless found is expected as tensors, but for the values: structure, shapes, dtypes."""
    if isinstance(expected, tuple | list):
        assert isinstance(found, tuple | list), f"expected a {type(expected)}, got {type(found)}"
        assert getattr(found, "_fields", ()) == getattr(expected, "_fields", ())
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    else:
        expected = np.asarray(expected)
        assert type(found) is mg.Tensor, f"expected a tensor, got {type(found)}"
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)


def assert_same(found, expected, eps=0.0):
    """Fail unless found is expected as tensors: structure, shapes, dtypes, values.

    eps: the error allowed, in units of the dtype's precision; at 0 the bits agree, the sign of
    zero included; nan is nan.
    """
    assert_alike(found, expected)
    if isinstance(expected, tuple | list):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other, eps)
        return
    array, expected = found.to_host(), np.asarray(expected)
    if expected.dtype.kind not in "fc":
        np.testing.assert_array_equal(array, expected)
    elif eps:
        precision = eps * np.finfo(expected.dtype).eps
        np.testing.assert_allclose(array, expected, rtol=precision, atol=precision)
    else:
        array, expected = parts(array), parts(expected)
        np.testing.assert_array_equal(array, expected)
        is_zero = expected == 0
        np.testing.assert_array_equal(np.signbit(array[is_zero]), np.signbit(expected[is_zero]))


def parts(array):
    """Return real and imaginary parts side by side."""
    return np.stack([array.real, array.imag]) if array.dtype.kind == "c" else array
