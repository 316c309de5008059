"""The training loop and what it measures."""

from .loop import Epoch, Evaluation, evaluate, fit
from .models import ACTIVATIONS, mlp

__all__ = ["ACTIVATIONS", "Epoch", "Evaluation", "evaluate", "fit", "mlp"]
