"""The functions behind the modules."""

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

__all__ = ["logsigmoid", "relu", "sigmoid", "softplus", "tanh"]
__all__ += activations.__all__
__all__ += attention.__all__
__all__ += convolution.__all__
__all__ += losses.__all__
__all__ += neural.__all__
__all__ += normalization.__all__
__all__ += pooling.__all__
