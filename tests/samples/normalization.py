"""Normalizations: values made to have mean 0 and variance 1 over some axes."""

import numpy as np

import minigrad as mg
from minigrad.engine import TABLE

from .rows import *


def reference_normalize(x, weight=1, bias=0, *, axis, eps, shape=None):
    seen = x.reshape(shape or x.shape)
    mean, var = seen.mean(axis, keepdims=True), seen.var(axis, keepdims=True)
    out = (seen - mean) / np.sqrt(var + eps) * weight + bias
    return out.reshape(x.shape), mean, var


def reference_rms(x, weight=1, *, axis, eps):
    square = np.mean(x * x, axis, keepdims=True)
    return x / np.sqrt(square + eps) * weight, square


def last_axes(x, normalized_shape):
    return tuple(range(x.ndim - len(normalized_shape), x.ndim))


def reference_layer_norm(x, weight=1, bias=0, *, normalized_shape, eps=1e-5):
    return reference_normalize(x, weight, bias, axis=last_axes(x, normalized_shape), eps=eps)[0]


def reference_rms_norm(x, weight=1, *, normalized_shape, eps=2**-52):
    return reference_rms(x, weight, axis=last_axes(x, normalized_shape), eps=eps)[0]


def by_channel(values, x):
    return np.reshape(values, (-1, *[1] * (x.ndim - 2)))


def reference_group_norm(x, weight=1, bias=0, *, num_groups, eps=1e-5):
    grouped = x.reshape(len(x), num_groups, -1)
    out = reference_normalize(grouped, axis=(2,), eps=eps)[0].reshape(x.shape)
    return out * by_channel(weight, x) + by_channel(bias, x)


def reference_batch_norm(x, mean, var, weight=1, bias=0, *, training, eps=1e-5):
    if training:
        axis = (0, *range(2, x.ndim))
        mean, var = x.mean(axis), x.var(axis)
    unit = (x - by_channel(mean, x)) / np.sqrt(by_channel(var, x) + eps)
    return unit * by_channel(weight, x) + by_channel(bias, x)


def with_statistics(dtype):
    """Those of float16 are float32."""
    wide = SINGLE if dtype == HALF else floating(dtype)
    return floating(dtype), wide, wide


def with_square(dtype):
    return with_statistics(dtype)[:2]


EPS = 0.1


def along(axis, eps=EPS, shape=None):
    return {"axis": axis, "eps": eps, "shape": shape}


X, SCALE = Reals((2, 3)), Reals((3,), POSITIVE)

NORMALIZATION = {
    "normalize": Row(
        TABLE["normalize"],
        reference_normalize,
        (
            Case((X,), along((1,))),
            Case((X, SCALE, Reals((3,))), along((1,))),
            Case((Reals((2, 2, 3)), Reals((2, 3)), Reals((2, 3))), along((1, 2))),
            Case((Reals((3, 2, 2)), Reals((2, 1)), Reals((2, 1))), along((0, 2))),
            Case((Reals((2, 2, 1, 2)), Reals((2, 1, 1))), along((2, 3))),
            Case((Reals((1, 4, 2)), *[Reals((2, 2, 1))] * 2), along((2, 3), shape=(1, 2, 2, 2))),
            Case((Reals((0, 3)), SCALE, Reals((3,))), along((1,))),
        ),
        result=with_statistics,
        kinks=(Kink(([[2.0, 2.0], [1e4, 1e4]],), ([[0.5, 0.5]] * 2,), along((1,), eps=1e-5)),),
    ),
    "rms_normalize": Row(
        TABLE["rms_normalize"],
        reference_rms,
        (
            Case((X,), {"axis": (1,), "eps": EPS}),
            Case((X, SCALE), {"axis": (1,), "eps": EPS}),
            Case((Reals((2, 2, 2)), Reals((2, 2))), {"axis": (1, 2), "eps": EPS}),
            Case((Reals((0, 3)), SCALE), {"axis": (1,), "eps": EPS}),
        ),
        result=with_square,
        kinks=(Kink(([[0.0, 0.0]],), ([[10.0, 10.0]],), {"axis": (1,), "eps": 0.01}),),
    ),
    "layer_norm": Row(
        lambda x, weight=None, bias=None, **params: mg.layer_norm(
            x, weight=weight, bias=bias, **params
        ),
        reference_layer_norm,
        (
            Case((X,), {"normalized_shape": (3,)}),
            Case((Reals((2, 2, 2)), *[Reals((2, 2))] * 2), {"normalized_shape": (2, 2)}),
            Case((X, SCALE), {"normalized_shape": (3,), "eps": EPS}),
        ),
        order=1,
        result=floating,
        wrong=(
            Wrong((np.ones((2, 3)),), ValueError, r"=\(2,\).*\(2, 3\)", {"normalized_shape": (2,)}),
            Wrong((np.ones((2, 3)),), ValueError, "at least one", {"normalized_shape": ()}),
            Wrong(
                (np.ones((2, 3)), np.ones(2)),
                ValueError,
                r"weight must have shape \(3,\), not \(2,\)",
                {"normalized_shape": (3,)},
            ),
        ),
    ),
    "rms_norm": Row(
        lambda x, weight=None, **params: mg.rms_norm(x, weight=weight, **params),
        reference_rms_norm,
        (
            Case((X,), {"normalized_shape": (3,)}),
            Case((Reals((2, 2, 2)), Reals((2, 2))), {"normalized_shape": (2, 2)}),
            Case((X, SCALE), {"normalized_shape": (3,), "eps": EPS}),
        ),
        order=1,
        result=floating,
        wrong=(
            Wrong((np.ones(3),), ValueError, r"=\(2, 3\).*\(3,\)", {"normalized_shape": (2, 3)}),
        ),
    ),
    "group_norm": Row(
        lambda x, weight=None, bias=None, **params: mg.group_norm(
            x, weight=weight, bias=bias, **params
        ),
        reference_group_norm,
        (
            Case((Reals((2, 4)),), {"num_groups": 2}),
            Case((Reals((2, 2, 3)), Reals((2,)), Reals((2,))), {"num_groups": 1}),
            Case((Reals((1, 4, 2)), Reals((4,))), {"num_groups": 2, "eps": EPS}),
        ),
        order=1,
        result=floating,
        wrong=(
            Wrong(
                (np.ones((2, 3)),), ValueError, r"=2 must divide.* 3 .*2, 3\)", {"num_groups": 2}
            ),
            Wrong((np.ones((2, 3)),), ValueError, "=0 must divide", {"num_groups": 0}),
            Wrong((np.ones(3),), ValueError, r"channels.*\(3,\)", {"num_groups": 1}),
            Wrong(
                (np.ones((2, 3)), np.ones(1)),
                ValueError,
                r"weight must have shape \(3,\), not \(1,\)",
                {"num_groups": 1},
            ),
        ),
    ),
    "batch_norm": Row(
        lambda x, mean, var, weight=None, bias=None, **params: mg.batch_norm(
            x, mean, var, weight, bias, **params
        ),
        reference_batch_norm,
        (
            Case((Reals((3, 2)), None, None), {"training": True}),
            Case(
                (Reals((2, 2, 2)), None, None, Reals((2,)), Reals((2,))),
                {"training": True, "eps": EPS},
            ),
            Case((X, Reals((3,)), Reals((3,), POSITIVE), SCALE, Reals((3,))), {"training": False}),
            Case((X, Reals((3,)), Reals((3,), POSITIVE)), {"training": False, "eps": EPS}),
        ),
        order=1,
        result=floating,
        wrong=(
            Wrong(
                (np.ones((1, 3)), np.zeros(3), np.ones(3)),
                ValueError,
                r"more than one value; got x of shape \(1, 3\)",
                {"training": True},
            ),
            Wrong(
                (np.ones((2, 3)), np.zeros(2), np.ones(3)),
                ValueError,
                r"running_mean must have shape \(3,\), not \(2,\)",
                {"training": False},
            ),
        ),
    ),
}
