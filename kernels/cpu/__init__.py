"""Kernels for the CPU, compiled by Numba. Importing this package imports Numba."""

from . import adam as adam
from . import cross_entropy as cross_entropy
from . import elementary as elementary
from . import gemm as gemm
from . import norm as norm
from . import philox as philox
from . import pooling as pooling
from .compiler import TABLE as TABLE
from .compiler import warmup as warmup
from . import adam, cross_entropy, elementary, norm, normalization, philox, pooling
from . import adam, cross_entropy, elementary, indexing, norm, philox, pooling
from .compiler import TABLE, warmup

__all__ = [
    "TABLE",
    "adam",
    "cross_entropy",
    "elementary",
    "norm",
    "normalization",
    "indexing",
    "norm",
    "philox",
    "pooling",
    "warmup",
]
from . import cross_entropy, elementary, norm, philox, pooling, updates
from .compiler import TABLE, warmup

__all__ = ["TABLE", "cross_entropy", "elementary", "norm", "philox", "pooling", "updates", "warmup"]
