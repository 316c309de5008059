"""Sums of products by Einstein's convention, made of diagonals, sums and products of matrices."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from operator import index
from typing import Any

from ..engine import Tensor
from ..promotion import common_dtype
from .creation import astype
from .reductions import sum
from .shape import as_tensors, diagonal, permute_dims, reshape, squeeze

__all__ = ["einsum"]

#: The letters; a number of an axis stands for the one at that place.
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

#: A tensor and the labels of its axes.
Factor = tuple[Tensor, list[str]]


def einsum(subscripts: Any, /, *operands: Any) -> Tensor:
    """Sum the products of tensors whose axes are named by letters: "ij,jk->ik".

    A letter that the output lacks is summed; one that an operand has twice is its diagonal; "..."
    are axes without a name, which broadcast, as axes of length 1 do. Without "->" the output has
    these, then the letters that appear once, sorted. Also as einsum(x, [0, 1], y, [1, 2], [0, 2]).

    The operands are brought to one dtype, in which sums are taken, and multiplied two at a time,
    first those whose product is small. Of one operand of which nothing is summed, the result is a
    view, as NumPy's. ValueError where the letters do not fit the operands.
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _from_lists(subscripts, *operands)
    tensors = as_tensors(operands)
    dtype = common_dtype([x.dtype for x in tensors])
    terms, output = _parsed(subscripts, tensors)
    lengths = _lengths(subscripts, terms, tensors)
    factors = [
        _distinct(astype(x, dtype, copy=False), labels, lengths)
        for x, labels in zip(tensors, terms, strict=True)
    ]
    factors = [_summed(*f, _wanted(factors, output, i)) for i, f in enumerate(factors)]
    while len(factors) > 1:
        i, j = _next_pair(factors, output)
        product = _product(*factors[i], *factors[j], _wanted(factors, output, i, j))
        factors = [f for k, f in enumerate(factors) if k not in (i, j)] + [product]
    ((result, labels),) = factors
    return permute_dims(result, [labels.index(label) for label in output])


def _from_lists(*given: Any) -> tuple[str, tuple[Any, ...]]:
    """Return subscripts and operands from operands with a list of numbers behind each."""
    operands, lists = given[: len(given) - 1 : 2], given[1::2]
    output = [given[-1]] if len(given) % 2 else []
    if not operands or not all(isinstance(labels, list | tuple) for labels in (*lists, *output)):
        raise TypeError(
            'einsum: expected subscripts, as in einsum("ij,jk", x, y), or a list of numbers behind '
            "each operand, as in einsum(x, [0, 1], y, [1, 2])"
        )
    terms, end = ([*map(_spelled, some)] for some in (lists, output))
    return "->".join([",".join(terms), *end]), operands


def _spelled(labels: Sequence[Any]) -> str:
    numbers = [label for label in labels if label is not Ellipsis]
    if bad := [n for n in numbers if not 0 <= index(n) < len(_LETTERS)]:
        raise ValueError(f"einsum: the numbers of axes lie in [0, {len(_LETTERS)}), got {bad[0]}")
    return "".join(["..." if n is Ellipsis else _LETTERS[n] for n in labels])


def _parsed(subscripts: str, tensors: Sequence[Tensor]) -> tuple[list[list[str]], list[str]]:
    """Return the labels of the axes of each operand, and of the output.

    A label is a letter, or a number for an axis of "...", counted from the end.
    """

    def error(what: str) -> ValueError:
        return ValueError(f"einsum: {what} in {subscripts!r}")

    def labels_of(term: str, unnamed: int) -> list[str]:
        before, _, after = term.partition("...")
        if strange := {*before, *after} - {*_LETTERS}:
            raise error(f"expected letters, '...', ',' and '->', got {min(strange)!r}")
        return [*before, *map(str, reversed(range(unnamed))), *after]

    inputs, arrow, end = subscripts.replace(" ", "").partition("->")
    parts = inputs.split(",")
    if len(parts) != len(tensors):
        raise error(f"got {len(tensors)} operands for the {len(parts)}")
    terms, most = [], 0
    for i, (part, x) in enumerate(zip(parts, tensors, strict=True)):
        unnamed = x.ndim - len(part.replace("...", ""))
        terms.append(labels_of(part, unnamed))
        if len(terms[i]) != x.ndim or (unnamed and "..." not in part):
            raise error(f"the axes of operand {i}, of shape {x.shape}, are not those of {part!r}")
        most = max(most, unnamed)
    named = [label for part in parts for label in part.replace("...", "")]
    if not arrow:
        end = "..." + "".join(sorted(label for label in named if named.count(label) == 1))
    output = labels_of(end, most if "..." in end else 0)
    if most and "..." not in end:
        raise error("operands have axes under '...': expected it in the output")
    for label in output:
        if output.count(label) > 1:
            raise error(f"the output has {label!r} more than once")
        if label in _LETTERS and label not in named:
            raise error(f"no operand has the output's {label!r}")
    return terms, output


def _lengths(
    subscripts: str, terms: Sequence[Sequence[str]], tensors: Sequence[Tensor]
) -> dict[str, int]:
    """Return the length along each label, which operands may have as 1."""
    lengths: dict[str, int] = {}
    for i, (labels, x) in enumerate(zip(terms, tensors, strict=True)):
        for axis, (label, n) in enumerate(zip(labels, x.shape, strict=True)):
            twin = labels.index(label)
            expected = lengths.get(label, 1) if twin == axis else x.shape[twin]
            if n != expected and (twin != axis or 1 not in (n, expected)):
                name = repr(label if label in _LETTERS else "...")
                raise ValueError(
                    f"einsum: axis {axis} of operand {i}, of shape {x.shape}, has length {n}, but "
                    f"{name} has {expected} before it in {subscripts!r}"
                )
            if n != 1:
                lengths[label] = n
    return lengths


def _distinct(x: Tensor, labels: list[str], lengths: Mapping[str, int]) -> Factor:
    """Take the diagonals of x, and leave out its axes that only broadcast."""
    while twice := [label for label in labels if labels.count(label) > 1]:
        first = labels.index(twice[0])
        second = labels.index(twice[0], first + 1)
        x, labels = diagonal(x, 0, first, second), [*_without(labels, (first, second)), twice[0]]
    narrow = [a for a, label in enumerate(labels) if x.shape[a] != lengths.get(label, 1)]
    return (squeeze(x, tuple(narrow)), _without(labels, narrow)) if narrow else (x, labels)


def _summed(x: Tensor, labels: list[str], wanted: Collection[str]) -> Factor:
    """Sum x over the axes that neither the output nor another factor has."""
    alone = [a for a, label in enumerate(labels) if label not in wanted]
    if not alone:
        return x, labels
    return astype(sum(x, tuple(alone)), x.dtype, copy=False), _without(labels, alone)


def _without(labels: Sequence[str], axes: Collection[int]) -> list[str]:
    return [label for axis, label in enumerate(labels) if axis not in axes]


def _wanted(factors: Sequence[Factor], output: Sequence[str], *places: int) -> set[str]:
    """Return the labels that the output or a factor at none of these places has."""
    others = [labels for k, (_, labels) in enumerate(factors) if k not in places]
    return {*output}.union(*others)


def _lengths_of(x: Tensor, of_x: Sequence[str], y: Tensor, of_y: Sequence[str]) -> dict[str, int]:
    return dict(zip([*of_x, *of_y], [*x.shape, *y.shape], strict=True))


def _next_pair(factors: Sequence[Factor], output: Sequence[str]) -> tuple[int, int]:
    """Return which two factors grow least, or shrink most, when they are multiplied."""

    def growth(pair: tuple[int, int]) -> int:
        (x, of_x), (y, of_y) = (factors[k] for k in pair)
        wanted = _wanted(factors, output, *pair)
        kept = [n for label, n in _lengths_of(x, of_x, y, of_y).items() if label in wanted]
        return math.prod(kept) - x.size - y.size

    return min(combinations(range(len(factors)), 2), key=growth)


def _product(
    x: Tensor, of_x: list[str], y: Tensor, of_y: list[str], wanted: Collection[str]
) -> Factor:
    """Multiply two tensors: a product of matrices where something is summed."""
    lengths = _lengths_of(x, of_x, y, of_y)
    batch = [label for label in of_x if label in of_y and label in wanted]
    inner = [label for label in of_x if label in of_y and label not in wanted]
    rows = [label for label in of_x if label not in of_y]
    columns = [label for label in of_y if label not in of_x]
    b, i, r, c = ([lengths[label] for label in labels] for labels in (batch, inner, rows, columns))
    if inner:
        left = _arranged(x, of_x, batch + rows + inner, (*b, math.prod(r), math.prod(i)))
        right = _arranged(y, of_y, batch + inner + columns, (*b, math.prod(i), math.prod(c)))
        product = left @ right
    else:
        left = _arranged(x, of_x, batch + rows, (*b, *r, *[1] * len(c)))
        right = _arranged(y, of_y, batch + columns, (*b, *[1] * len(r), *c))
        product = left * right
    labels = batch + rows + columns
    return _arranged(product, labels, labels, (*b, *r, *c)), labels


def _arranged(x: Tensor, labels: list[str], order: list[str], shape: tuple[int, ...]) -> Tensor:
    if order != labels:
        x = permute_dims(x, [labels.index(label) for label in order])
    return x if x.shape == shape else reshape(x, shape)
