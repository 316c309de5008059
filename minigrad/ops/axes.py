"""Axes as users give them, as non-negative ints; keywords that do not exist."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from operator import index
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ..methods import Axis
from ..plans import parameters_of


def axes_of(name: str, axis: Axis, shape: tuple[int, ...], new: int = 0) -> tuple[int, ...]:
    """Return axes as distinct non-negative ints in the order given, all of them for None.

    name: the function in whose errors they appear. new: how many axes it adds to the shape.
    """
    ndim = len(shape) + new
    if axis is None:
        return tuple(range(ndim))
    given = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    try:
        chosen = tuple(index(a) + (ndim if a < 0 else 0) for a in given)
    except TypeError as error:
        raise TypeError(f"{name}: axes are integers, got {axis!r}") from error
    for a, normal in zip(given, chosen, strict=True):
        if not 0 <= normal < ndim:
            raise np.exceptions.AxisError(
                f"{name}: axis {a} is out of bounds for {ndim} dimensions; got shape {shape}"
            )
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"{name}: each axis can be named once, got {given} for shape {shape}")
    return chosen


def axis_of(name: str, axis: int, shape: tuple[int, ...], new: int = 0) -> int:
    """Return one axis as a non-negative int; TypeError for None or several."""
    if not hasattr(axis, "__index__"):
        raise TypeError(f"{name}: expected one axis, got {axis!r}")
    return axes_of(name, axis, shape, new)[0]


def for_each_axis(name: str, what: str, value: Any, count: int, least: int) -> tuple[int, ...]:
    """Return an integer for each of `count` axes from one for all of them or from so many.

    TypeError for what is no integer, ValueError for another number of them and below `least`.
    """
    given = tuple(value) if isinstance(value, Sequence) else (value,) * count
    several = f", or {count} of them" if count > 1 else ""
    try:
        numbers = tuple(map(index, given))
    except TypeError as error:
        raise TypeError(f"{name}: {what} is an integer{several}, got {value!r}") from error
    if len(numbers) != count or any(n < least for n in numbers):
        raise ValueError(
            f"{name}: {what} is an integer of at least {least}{several}, got {value!r}"
        )
    return numbers


def reject_unknown(name: str, unknown: Mapping[str, Any]) -> None:
    """Raise TypeError for keywords that do not exist, naming the ones PyTorch's habit means."""
    meant = {"dim": "axis", "keepdim": "keepdims"}
    meant |= {"start_dim": "start_axis", "end_dim": "end_axis"}
    for keyword in unknown:
        hint = f"; minigrad calls it {meant[keyword]}=" if keyword in meant else ""
        raise TypeError(f"{name}: unexpected keyword {keyword!r}{hint}")


P = ParamSpec("P")
R = TypeVar("R")


def answers_torch(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function refuse keywords that it does not have as `reject_unknown` does."""
    positional, _, named, _ = parameters_of(function)
    known = {*positional, *named}

    @wraps(function)
    def answering(*args: P.args, **keywords: P.kwargs) -> R:
        if not keywords.keys() <= known:
            reject_unknown(function.__name__, {k: v for k, v in keywords.items() if k not in known})
        return function(*args, **keywords)

    return answering
