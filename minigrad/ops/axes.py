"""Axes as users give them, as non-negative ints; keywords that do not exist."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from operator import index
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ..messages import unexpected_keyword
from ..methods import Axis
from ..plans import parameters_of


def axes_of(name: str, axis: Axis, shape: tuple[int, ...], new: int = 0) -> tuple[int, ...]:
    """Return axes as distinct non-negative ints in the order given, all of them for None.

    name: the function in whose errors they appear. new: how many axes it adds to the shape.
    """
    ndim = len(shape) + new
    if type(axis) is int and -ndim <= axis < ndim:  # 0.1 of the time of what follows
        return (axis + ndim if axis < 0 else axis,)
    if axis is None:
        return tuple(range(ndim))
    given = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    try:
        chosen = tuple([a + ndim if a < 0 else a for a in map(index, given)])
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


def _index(value: Any) -> int:
    """Return what `operator.index` does, but TypeError for bools, which count nothing."""
    if isinstance(value, bool):
        raise TypeError("a bool is no count")
    return index(value)


def for_each_axis(name: str, what: str, value: Any, axes: int, least: int) -> tuple[int, ...]:
    """Return an integer for each of so many axes from one for all of them or one for each.

    TypeError for what is no integer, bools too, ValueError for another number of them and below
    `least`.
    """
    given = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    several = f", or {axes} of them" if axes > 1 else ""
    try:
        numbers = tuple(map(_index, given))
    except TypeError as error:
        raise TypeError(f"{name}: {what} is an integer{several}, got {value!r}") from error
    if len(numbers) != axes or any(n < least for n in numbers):
        raise ValueError(
            f"{name}: {what} is an integer of at least {least}{several}, got {value!r}"
        )
    return numbers


def count(name: str, what: str, value: Any, least: int) -> int:
    """Return one integer of at least `least`, as `for_each_axis` does."""
    if isinstance(value, Sequence):
        raise TypeError(f"{name}: {what} is an integer, got {value!r}")
    return for_each_axis(name, what, value, 1, least)[0]


def reject_unknown(name: str, unknown: Mapping[str, Any], known: Iterable[str] = ()) -> None:
    """Raise TypeError for keywords that do not exist, saying what PyTorch's habit means by them."""
    for keyword in unknown:
        raise unexpected_keyword(name, keyword, known)


P = ParamSpec("P")
R = TypeVar("R")


def answers_torch(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function, or `__init__`, refuse keywords that it lacks as `reject_unknown` does."""
    if function.__code__.co_flags & inspect.CO_VARKEYWORDS:
        return function
    positional, _, named, _ = parameters_of(function)
    known = {*positional, *named}
    makes = function.__name__ == "__init__"

    @wraps(function)
    def answering(*args: P.args, **keywords: P.kwargs) -> R:
        if not keywords.keys() <= known:
            name = type(args[0]).__name__ if makes else function.__name__
            reject_unknown(name, {k: v for k, v in keywords.items() if k not in known}, known)
        return function(*args, **keywords)

    return answering
