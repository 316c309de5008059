"""Kernels for the CPU, compiled by Numba. Importing this package imports Numba."""

from . import activations as activations
from . import attention as attention
from . import clipping as clipping
from . import convolution as convolution
from . import cross_entropy as cross_entropy
from . import dropout as dropout
from . import elementary as elementary
from . import gemm as gemm
from . import indexing as indexing
from . import linear as linear
from . import normalization as normalization
from . import philox as philox
from . import pooling as pooling
from . import reductions as reductions
from . import softmax as softmax
from . import updates as updates
from . import vectors as vectors
from . import windows as windows
from .compiler import TABLE as TABLE
from .compiler import warmup as warmup
