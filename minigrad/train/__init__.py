"""The training loop: what it measures, what it saves, what happens beside it."""

from .callbacks import BEST, LAST, Best, Callback, Checkpoint, EarlyStopping, Progress
from .history import History
from .metrics import Accuracy, FunctionMetric, Metric, StreamingMetric, classes
from .models import ACTIVATIONS, CharacterModel, CharRNN, CharTransformer, cnn, mlp
from .trainer import Trainer

__all__ = [
    "ACTIVATIONS",
    "BEST",
    "LAST",
    "Accuracy",
    "Best",
    "Callback",
    "CharRNN",
    "CharTransformer",
    "CharacterModel",
    "Checkpoint",
    "EarlyStopping",
    "FunctionMetric",
    "History",
    "Metric",
    "Progress",
    "StreamingMetric",
    "Trainer",
    "classes",
    "cnn",
    "mlp",
]
