"""Every operation, by family: how to compute it and how to differentiate it."""

from typing import Any, cast

from ..methods import OPS
from .creation import *
from .elementwise import *
from .indexing import *
from .indexing import At
from .linalg import *
from .neural import *
from .reductions import *
from .shape import *
from .updates import *

OPS.update({name: value for name, value in globals().items() if callable(value)})
OPS["at"] = cast(Any, At)
