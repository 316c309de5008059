"""Networks that the commands build from a few words."""

from collections.abc import Sequence
from itertools import pairwise

from ..nn import (
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
)

#: All of them rise with their input: it is the same to take the largest before or after them.
ACTIVATIONS: dict[str, type[Module]] = {"relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid}


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    activation: str = "relu",
    dropout: float = 0.0,
) -> Sequential:
    """Return dense layers of the widths inputs, *hidden, outputs, with the activation between them.

    Maps (batch, inputs) to (batch, outputs). dropout: the share of each hidden layer's outputs that
    is set to 0 in training.
    """
    widths = [inputs, *hidden]
    layers: list[Module] = []
    for before, after in pairwise(widths):
        layers += [Linear(before, after), ACTIVATIONS[activation]()]
        if dropout:
            layers.append(Dropout(dropout))
    return Sequential(*layers, Linear(widths[-1], outputs))


def cnn(
    image: Sequence[int],
    outputs: int,
    channels: Sequence[int] = (16, 32),
    hidden: Sequence[int] = (128,),
    activation: str = "relu",
    dropout: float = 0.0,
) -> Sequential:
    """Return a stage for each of the channels, then the dense layers of `mlp`.

    Maps (batch, 1, rows, columns) to (batch, outputs); image: (rows, columns). A stage is a 3×3
    convolution that keeps the size, the largest of each 2×2 pixels, and the activation. ValueError
    for images that cannot be halved so often.
    """
    rows, columns = (size >> len(channels) for size in image)
    if min(rows, columns) < 1:
        raise ValueError(
            f"cnn: {len(channels)} stages halve {image[0]}×{image[1]} pixels to nothing; give "
            "fewer channels"
        )
    layers: list[Module] = []
    for before, after in pairwise([1, *channels]):
        # Pooling first leaves the activation a quarter of the work.
        layers += [Conv2d(before, after, 3, padding=1), MaxPool2d(2), ACTIVATIONS[activation]()]
    features = ([1, *channels])[-1] * rows * columns
    return Sequential(*layers, Flatten(), *mlp(features, hidden, outputs, activation, dropout))
