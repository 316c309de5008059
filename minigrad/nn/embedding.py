"""Vectors for numbered things."""

from typing import Self

from ..engine import Tensor, no_grad
from ..ops.axes import count
from ..ops.creation import zeros
from ..ops.neural import row_of
from . import functional as F
from . import init
from .module import Module, Parameter


class Embedding(Module):
    """The rows of weight at indices: shape indices.shape + (embedding_dim,).

    weight: (num_embeddings, embedding_dim), drawn from a standard normal distribution. padding_idx:
    a row that starts at 0 and is not trained; ValueError for none of the rows.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None
    ) -> None:
        super().__init__()
        rows = count("Embedding", "num_embeddings", num_embeddings, 0)
        columns = count("Embedding", "embedding_dim", embedding_dim, 0)
        self._hold(Parameter(zeros((rows, columns))), padding_idx)
        self.reset_parameters()

    def _hold(self, weight: Parameter, padding_idx: int | None) -> None:
        self.num_embeddings, self.embedding_dim = weight.shape
        self.padding_idx = padding_idx
        if padding_idx is not None:
            self.padding_idx = row_of("Embedding", padding_idx, self.num_embeddings)
        self.weight = weight

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None
    ) -> Self:
        """Return an Embedding with a copy of these rows, which is trained only if not freeze.

        ValueError unless embeddings have two axes.
        """
        weight = Parameter(embeddings, requires_grad=not freeze)
        if weight.ndim != 2:
            raise ValueError(
                "Embedding: expected embeddings (num_embeddings, embedding_dim), got shape "
                f"{weight.shape}"
            )
        module = cls.__new__(cls)
        Module.__init__(module)
        module._hold(weight, padding_idx)
        return module

    def reset_parameters(self) -> None:
        """Draw weight anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    def forward(self, indices: Tensor) -> Tensor:
        return F.embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
