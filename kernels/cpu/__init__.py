"""Kernels for the CPU, compiled by Numba. Importing this package imports Numba."""

from . import activations as activations
from . import clipping as clipping
from . import cross_entropy as cross_entropy
from . import elementary as elementary
from . import gemm as gemm
from . import indexing as indexing
from . import linear as linear
from . import norm as norm
from . import normalization as normalization
from . import philox as philox
from . import pooling as pooling
from . import softmax as softmax
from . import updates as updates
from .compiler import TABLE as TABLE
from .compiler import warmup as warmup
from . import adam, cross_entropy, elementary, norm, philox, pooling, windows
from . import adam, convolution, cross_entropy, elementary, norm, philox, pooling, windows
from . import adam, cross_entropy, elementary, norm, normalization, philox, pooling, reductions
from .compiler import TABLE, warmup

__all__ = [
    "TABLE",
    "adam",
    "convolution",
    "cross_entropy",
    "elementary",
    "norm",
    "philox",
    "pooling",
    "reductions",
    "warmup",
    "windows",
]
from . import updates as updates
from .compiler import TABLE as TABLE
from .compiler import warmup as warmup
from . import updates as updates
from .compiler import TABLE as TABLE
from .compiler import warmup as warmup
