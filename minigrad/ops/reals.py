"""Functions of real numbers: of complex ones they would order the parts, or drop the imaginary."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from ..plans import parameters_of


def require_reals(*values: Any, name: str = "") -> None:
    """Raise TypeError where a tensor or an array holds complex numbers. name: for whom, if said."""
    for value in values:
        dtype = getattr(value, "dtype", None)
        if dtype is not None and dtype.kind == "c":
            raise TypeError(
                f"{name}{': ' if name else ''}expected real numbers, not {dtype}; "
                "take real(), imag() or abs() first"
            )


def of_reals(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward that refuses complex arrays; the engine names the op.

    It looks at the first one: the engine has brought them to one dtype.
    """
    positional, _, named, _ = parameters_of(forward)

    @wraps(forward)
    def of_one(xp: Any, x: Any) -> Any:
        if x.dtype.kind == "c":
            require_reals(x)
        return forward(xp, x)

    @wraps(forward)
    def of_more(xp: Any, x: Any, *others: Any, **params: Any) -> Any:
        require_reals(x)
        return forward(xp, x, *others, **params)

    # Packing the arguments would cost a sixth of what relu of a few numbers takes.
    return of_more if named or len(positional) > 2 else of_one
