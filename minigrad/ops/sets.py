"""Sets: the elements of a tensor that differ.

Their number depends on values, so a device is waited for. nan differs from everything, itself
included. The elements found stay differentiable.
"""

from typing import NamedTuple

from ..engine import Op, Tensor
from .creation import as_tensor

__all__ = [
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


_unique = Op(
    "unique",
    lambda xp, x: xp.unique(
        x, return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )[1:],
    outputs=("indices", "inverse_indices", "counts"),
    syncs=True,
)


def unique_all(x: Tensor, /) -> UniqueAll:
    """Return the sorted elements of x, each once, and how x is made of them.

    indices: where the first of each is in the flattened x. inverse_indices: which of them each
    element of x is, in x's shape. counts: how often each occurs.
    """
    x = as_tensor(x)
    indices, inverse, counts = _unique(x)
    return UniqueAll(x.reshape(-1)[indices], indices, inverse, counts)


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """Return the sorted elements of x, each once, and how often each occurs."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """Return the sorted elements of x, each once, and which of them each element of x is."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Tensor, /) -> Tensor:
    """Return the sorted elements of x, each once; its gradient goes to the first of equal ones."""
    return unique_all(x).values
