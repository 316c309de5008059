"""Every operation, by family: how to compute it and how to differentiate it."""

from typing import Any, cast

from ..methods import OPS
from . import (
    creation,
    elementwise,
    indexing,
    linalg,
    neural,
    predicates,
    reductions,
    shape,
    updates,
)
from .creation import *
from .elementwise import *
from .indexing import *
from .linalg import *
from .neural import *
from .predicates import *
from .reductions import *
from .shape import *
from .updates import *

__all__ = [
    *creation.__all__,
    *elementwise.__all__,
    *indexing.__all__,
    *linalg.__all__,
    *neural.__all__,
    *predicates.__all__,
    *reductions.__all__,
    *shape.__all__,
    *updates.__all__,
]

OPS.update({name: globals()[name] for name in __all__})
OPS["at"] = cast(Any, indexing.At)
