"""Networks that the commands build from a few words."""

from collections.abc import Sequence
from itertools import pairwise

from ..nn import Linear, Module, ReLU, Sequential, Sigmoid, Tanh

ACTIVATIONS: dict[str, type[Module]] = {"relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid}


def mlp(inputs: int, hidden: Sequence[int], outputs: int, activation: str = "relu") -> Sequential:
    """Return dense layers of the widths inputs, *hidden, outputs, with the activation between them.

    Maps (batch, inputs) to (batch, outputs).
    """
    widths = [inputs, *hidden, outputs]
    layers: list[Module] = []
    for before, after in pairwise(widths):
        layers += [Linear(before, after), ACTIVATIONS[activation]()]
    return Sequential(*layers[:-1])
