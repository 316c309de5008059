"""Automatic differentiation from scratch over NumPy, with Numba and CuPy behind one seam."""

from pathlib import Path as _Path
from typing import TYPE_CHECKING

# In a checkout the kernels lie beside this package; installed, they lie inside it.
_checkout = _Path(__file__).parents[1]
if (_checkout / "kernels" / "cpu").is_dir():
    __path__.append(str(_checkout))

import numpy as _np
from numpy import e, inf, nan, newaxis, pi

from . import autograd, backends, fft, linalg, nn, numpy_protocol, ops, optim, random
from .arrays import get_default_dtype, set_default_dtype
from .backends import use_backend
from .checks import GradcheckError, gradcheck
from .custom import checkpoint, custom_vjp
from .datatypes import can_cast, finfo, iinfo, isdtype, result_type
from .engine import (
    Op,
    Tensor,
    apply,
    enable_grad,
    is_grad_enabled,
    no_grad,
)
from .hardware import get_num_threads, set_num_threads, warmup
from .inspection import array_namespace_info as __array_namespace_info__
from .observers import AnomalyError, Profile, detect_anomaly, profile
from .ops.activations import *
from .ops.attention import *
from .ops.convolution import *
from .ops.creation import *
from .ops.einsum import *
from .ops.elementwise import *
from .ops.indexing import *
from .ops.linalg import *
from .ops.losses import *
from .ops.neural import *
from .ops.normalization import *
from .ops.piecewise import *
from .ops.pooling import *
from .ops.predicates import *
from .ops.reductions import *
from .ops.scans import *
from .ops.sets import *
from .ops.shape import *
from .ops.sorting import *
from .ops.special import *
from .ops.transcendental import *
from .ops.updates import *
from .protocols import API_VERSIONS as _API_VERSIONS
from .random import manual_seed, rand, randint, randn
from .serialization import load, save
from .spellings import no_such_function
from .transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

__all__ = [
    "AnomalyError",
    "GradcheckError",
    "Op",
    "Profile",
    "Tensor",
    "apply",
    "autograd",
    "backends",
    "bool",
    "can_cast",
    "checkpoint",
    "complex64",
    "complex128",
    "custom_vjp",
    "data",
    "detect_anomaly",
    "e",
    "enable_grad",
    "fft",
    "finfo",
    "float16",
    "float32",
    "float64",
    "get_default_dtype",
    "get_num_threads",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "iinfo",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "isdtype",
    "jacobian",
    "jvp",
    "linalg",
    "load",
    "manual_seed",
    "nan",
    "newaxis",
    "nn",
    "no_grad",
    "optim",
    "pi",
    "profile",
    "rand",
    "randint",
    "randn",
    "random",
    "result_type",
    "save",
    "set_default_dtype",
    "set_num_threads",
    "train",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "use_backend",
    "value_and_grad",
    "viz",
    "vjp",
    "warmup",
]
__all__ += ops.PUBLIC

__version__ = "0.1.0"
__array_api_version__ = _API_VERSIONS[-1]

bool = _np.dtype(_np.bool_)
int8, int16, int32, int64 = (_np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (_np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float16, float32, float64 = (_np.dtype(f"float{n}") for n in (16, 32, 64))
complex64, complex128 = _np.dtype("complex64"), _np.dtype("complex128")

if TYPE_CHECKING:
    from . import data, train, viz
else:  # out of sight of type checkers, for which it would give every name a type

    def __getattr__(name: str) -> object:
        """Load on first use what tensors and modules do without."""
        if name in ("data", "train", "viz"):
            import importlib

            return importlib.import_module(f"{__name__}.{name}")
        raise no_such_function(name, __all__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
