"""Activation functions."""

import numpy as np

import minigrad as mg

from .rows import *


def reference_softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


ACTIVATIONS = {
    "softmax": Row(
        mg.softmax,
        reference_softmax,
        tuple(Case((Reals(shape),), params) for shape, params in [*ALONG, ((0, 3), {})]),
        result=floating,
        wrong=(*NO_AXIS, TORCH_NAMES[0]),
        kinks=(Kink(([1000.0, 1000.0],), ([0.0, 0.0],)),),
    ),
    "log_softmax": Row(
        mg.log_softmax,
        lambda x, axis=-1: np.log(reference_softmax(x, axis)),
        tuple(Case((Reals(shape),), params) for shape, params in [*ALONG, ((0, 3), {})]),
        result=floating,
        wrong=(*NO_AXIS, TORCH_NAMES[0]),
        kinks=(Kink(([1000.0, -1000.0],), ([-1.0, 1.0],)),),
    ),
}
