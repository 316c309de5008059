"""Kernels for the CPU, compiled by Numba. Importing this package imports Numba."""

from collections.abc import Callable, Mapping
from typing import Any

from .adam import adam_update
from .cross_entropy import softmax_cross_entropy
from .norm import total_norm
from .philox import random_bits
from .pooling import max_pool, max_unpool

TABLE: Mapping[str, Callable[..., Any]] = {
    "adam_update": adam_update,
    "max_pool": max_pool,
    "max_unpool": max_unpool,
    "random_bits": random_bits,
    "softmax_cross_entropy": softmax_cross_entropy,
    "total_norm": total_norm,
}
