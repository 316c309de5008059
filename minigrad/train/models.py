"""Networks that the commands build from a few words."""

from collections.abc import Sequence
from itertools import pairwise

from ..nn import Dropout, Linear, Module, ReLU, Sequential, Sigmoid, Tanh

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
