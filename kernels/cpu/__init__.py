"""Kernels for the CPU, compiled by Numba. Importing this package imports Numba."""

from . import adam, cross_entropy, elementary, norm, philox, pooling
from .compiler import TABLE, warmup

__all__ = ["TABLE", "adam", "cross_entropy", "elementary", "norm", "philox", "pooling", "warmup"]
