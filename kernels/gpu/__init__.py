"""Kernels for NVIDIA GPUs: CUDA C sources and, beside each, what launches them through CuPy.

Importing this package needs no CuPy and no GPU. A source (.cu) compiles alone, with NVRTC at the
first launch of one of its functions; CuPy keeps what it compiled on disk, by the text of the source
and the card's architecture. The tests run the same sources and launchers on the CPU. `Uploads`
copies a loader's batches to the card.
"""

from . import activations as activations
from . import attention as attention
from . import cross_entropy as cross_entropy
from . import gemm as gemm
from . import indexing as indexing
from . import normalization as normalization
from . import philox as philox
from . import softmax as softmax
from . import updates as updates
from .launcher import CALLS as CALLS
from .launcher import KERNELS as KERNELS
from .launcher import Device as Device
from .launcher import on_cupy as on_cupy
from .launcher import table as table
from .uploads import Uploads as Uploads
