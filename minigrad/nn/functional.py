"""The functions behind the modules."""

from typing import TYPE_CHECKING

from .. import ops
from ..ops import activations, attention, convolution, losses, neural, normalization, pooling
from ..ops.activations import *
from ..ops.attention import *
from ..ops.convolution import *
from ..ops.elementwise import relu, sigmoid, tanh
from ..ops.losses import *
from ..ops.neural import *
from ..ops.normalization import *
from ..ops.pooling import *
from ..ops.special import log_sigmoid as logsigmoid
from ..ops.special import softplus
from ..spellings import no_such_function

__all__ = ["logsigmoid", "relu", "sigmoid", "softplus", "tanh"]
__all__ += activations.__all__
__all__ += attention.__all__
__all__ += convolution.__all__
__all__ += losses.__all__
__all__ += neural.__all__
__all__ += normalization.__all__
__all__ += pooling.__all__

if not TYPE_CHECKING:  # for whom it would give every name a type

    def __getattr__(name: str) -> object:
        raise no_such_function(name, __all__, __name__, ops.PUBLIC)
