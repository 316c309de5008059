"""Networks that the commands build from a few words."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..engine import Tensor, no_grad
from ..nn import (
    LSTM,
    Conv2d,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    Linear,
    MaxPool2d,
    Module,
    ModuleList,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
    TransformerEncoderLayer,
)
from ..nn.modes import evaluating
from ..ops.creation import arange, asarray
from ..ops.piecewise import maximum
from ..ops.predicates import isfinite
from ..ops.reductions import argmax
from ..ops.shape import concat
from ..random import Generator, categorical

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


class CharacterModel(Module):
    """A model that predicts each next character of a text: the base of those below.

    Maps the characters' numbers (batch, length) to logits (batch, characters, length), the classes
    where `CrossEntropyLoss` wants them.
    """

    def generate(
        self, prompt: Any, length: int, temperature: float = 1.0, seed: int | None = None
    ) -> Tensor:
        """Return numbers (length,) that go on from those of a prompt (n,), each drawn in turn.

        temperature: what the logits are divided by: below 1, likely characters become likelier; 0
        takes the likeliest. seed: the same one gives the same numbers; None draws from the default
        generator. In eval mode, off the tape. ValueError for an empty prompt; FloatingPointError
        where the model's logits are nan or infinite.
        """
        backend = next(self.parameters()).backend
        codes = asarray(prompt, dtype=np.int64, backend=backend)
        if codes.ndim != 1 or not codes.size:
            raise ValueError(
                f"generate: expected a prompt of at least one number (n,), got {codes.shape}"
            )
        if length < 0 or not temperature >= 0:
            raise ValueError(
                "generate: length and temperature must not be negative, got "
                f"{length} and {temperature}"
            )
        generator = None if seed is None else Generator(seed)
        found: list[Tensor] = []
        memory = None
        with evaluating(self), no_grad():
            for _ in range(length):
                logits, memory = self.advance(codes[None], memory)
                top = logits.max(axis=-1, keepdims=True)
                if not isfinite(top).all():
                    raise FloatingPointError(
                        f"generate: the model's logits are not finite after {len(found)} numbers: "
                        "its weights are nan, infinite or too large"
                    )
                if temperature:
                    # 1000 temperatures below the top nothing is drawn: lower ones would overflow.
                    below = maximum(logits.astype(np.float64) - top, -1000.0 * temperature)
                    codes = categorical(below / temperature, generator=generator)
                else:
                    codes = argmax(logits, axis=-1)
                found.append(codes)
        return concat(found) if found else codes[:0]

    def advance(self, codes: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """Return the logits (1, characters) after further characters (1, n), and the memory then.

        memory: what an earlier call has returned, None at the beginning.
        """
        raise NotImplementedError(f"{type(self).__name__} has no advance method: define one")


class CharTransformer(CharacterModel):
    """Embedded characters and places, layers of causal self-attention, and a dense layer.

    characters: how many different ones there are. block: how far back it sees, at most. Each layer
    normalises first and has 4 · width hidden units.
    """

    def __init__(
        self,
        characters: int,
        block: int = 64,
        width: int = 64,
        heads: int = 4,
        layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(
                f"CharTransformer: width must be a multiple of heads, got {width} and {heads}"
            )
        self.block = block
        self.embedding = Embedding(characters, width)
        self.places = Embedding(block, width)
        self.layers = ModuleList(
            TransformerEncoderLayer(
                width, heads, 4 * width, dropout, batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = LayerNorm(width)
        self.head = Linear(width, characters)

    def forward(self, codes: Tensor) -> Tensor:
        length = codes.shape[1]
        if length > self.block:
            raise ValueError(
                f"CharTransformer: sees {self.block} characters, got {length}: cut the text into "
                "windows"
            )
        x = self.embedding(codes) + self.places(arange(length, backend=codes.backend))
        for layer in self.layers:
            x = layer(x, is_causal=True)
        logits: Tensor = self.head(self.norm(x)).mT
        return logits

    def advance(self, codes: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """Predict from the last characters: those of the memory with the new ones."""
        seen = codes if memory is None else concat([memory, codes], axis=1)
        seen = seen[:, -self.block :]
        return self(seen)[:, :, -1], seen


class CharRNN(CharacterModel):
    """Embedded characters, an LSTM of some layers, and a dense layer.

    characters: how many different ones there are. dropout: between the layers, and before the
    dense one.
    """

    def __init__(
        self, characters: int, width: int = 128, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = Embedding(characters, width)
        self.lstm = LSTM(width, width, layers, dropout=dropout, batch_first=True)
        self.dropout = Dropout(dropout)
        self.head = Linear(width, characters)

    def forward(self, codes: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.embedding(codes))
        logits: Tensor = self.head(self.dropout(hidden)).mT
        return logits

    def advance(self, codes: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """Predict from the state that the characters before have left."""
        hidden, memory = self.lstm(self.embedding(codes), memory)
        return self.head(hidden[:, -1]), memory
