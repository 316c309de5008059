"""Functions of real numbers: of complex ones they would order the parts, or drop the imaginary."""

from collections.abc import Callable
from functools import wraps
from typing import Any


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
    """A forward that refuses complex arrays; the engine names the op."""

    @wraps(forward)
    def run(xp: Any, *arrays: Any, **params: Any) -> Any:
        require_reals(*arrays)
        return forward(xp, *arrays, **params)

    return run
