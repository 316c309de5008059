"""Print the gradients at kinks, ties and singular points in minigrad, PyTorch and JAX.

Each case is one function of one namespace and the point where it is singular; the gradients are
those of the sum of the result with respect to each input, in float64. `docs/semantics.md` holds
the table. Needs PyTorch and JAX (the `compare` extra).

    python docs/kinks.py
"""

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """A function at a point. f: takes a namespace and the inputs; other: where peers differ."""

    what: str
    f: Callable[..., Any]
    at: Sequence[Any]
    other: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


def _jax(module: str) -> Any:
    return importlib.import_module(f"jax.{module}")


def neural(what: str, name: str, at: Any, *args: float, jax: str = "") -> Case:
    """Return the case of a function of nn.functional, in JAX of jax.nn, where its name is `jax`."""
    return Case(
        what,
        lambda xp, x: getattr(xp.nn.functional, name)(x, *args),
        (at,),
        {"JAX": lambda xp, x: getattr(_jax("nn"), jax or name)(x, *args)},
    )


def _put_together(u: Any, s: Any, vh: Any) -> Any:
    """Return the sum of squares of the matrix with this singular value decomposition."""
    return (((u * s) @ vh) ** 2).sum()


CASES = [
    Case("`max` of (1, 3, 3)", lambda xp, x: xp.max(x), ([1.0, 3.0, 3.0],)),
    Case(
        "`median` of (1, 2, 2, 3)",
        lambda xp, x: xp.median(x),
        ([1.0, 2.0, 2.0, 3.0],),
    ),
    Case("`maximum(x, y)`, x = y = 2", lambda xp, x, y: xp.maximum(x, y), (2.0, 2.0)),
    neural("`relu(0)`", "relu", 0.0),
    neural("`leaky_relu(0, 0.1)`", "leaky_relu", 0.0, 0.1),
    neural("`elu(0, 2)`", "elu", 0.0, 2.0),
    neural("`selu(0)`", "selu", 0.0),
    neural("`celu(0, 2)`", "celu", 0.0, 2.0),
    neural("`hardtanh` at -1, 1", "hardtanh", [-1.0, 1.0], jax="hard_tanh"),
    neural("`relu6` at 0, 6", "relu6", [0.0, 6.0]),
    neural("`hardswish` at -3, 3", "hardswish", [-3.0, 3.0], jax="hard_swish"),
    Case("`maximum(x, 0)`, x = 0", lambda xp, x: xp.maximum(x, xp.zeros_like(x)), (0.0,)),
    Case("`abs(0)`", lambda xp, x: xp.abs(x), (0.0,)),
    Case("`clip(x, 0, 1)` at 0, 1", lambda xp, x: xp.clip(x, 0.0, 1.0), ([0.0, 1.0],)),
    Case(
        "`norm` of (0, 0)",
        lambda xp, x: xp.linalg.vector_norm(x),
        ([0.0, 0.0],),
    ),
    Case(
        "`std` of (2, 2)",
        lambda xp, x: xp.std(x, correction=0),
        ([2.0, 2.0],),
    ),
    Case("`sqrt(0)`", lambda xp, x: xp.sqrt(x), (0.0,)),
    Case("`hypot(0, 0)`", lambda xp, x, y: xp.hypot(x, y), (0.0, 0.0)),
    Case("`atan2(0, 0)`", lambda xp, y, x: xp.atan2(y, x), (0.0, 0.0)),
    Case("`x ** y` at 0 ** 0", lambda xp, x, y: x**y, (0.0, 0.0)),
    Case("`x ** y` at 0 ** 2", lambda xp, x, y: x**y, (0.0, 2.0)),
    Case("`x ** y` at (-2) ** 2", lambda xp, x, y: x**y, (-2.0, 2.0)),
    Case(
        "`xlogy(0, 0)`",
        lambda xp, x, y: xp.xlogy(x, y),
        (0.0, 0.0),
        {"JAX": lambda xp, x, y: _jax("scipy.special").xlogy(x, y)},
    ),
    Case("`prod` of (0, 2, 3)", lambda xp, x: xp.prod(x), ([0.0, 2.0, 3.0],)),
    Case("`prod` of (0, 0, 3)", lambda xp, x: xp.prod(x), ([0.0, 0.0, 3.0],)),
    Case(
        "`cumulative_prod` of (0, 2, 3)",
        lambda xp, x: xp.cumulative_prod(x),
        ([0.0, 2.0, 3.0],),
        {"PyTorch": lambda xp, x: xp.cumprod(x, 0)},
    ),
    Case(
        "`det` of ((1, 2), (2, 4))",
        lambda xp, x: xp.linalg.det(x),
        ([[1.0, 2.0], [2.0, 4.0]],),
    ),
    Case(
        "`matrix_norm`, nuclear, of ((0, 0), (0, 0))",
        lambda xp, x: xp.linalg.matrix_norm(x, ord="nuc"),
        ([[0.0, 0.0], [0.0, 0.0]],),
    ),
    Case(
        "Σ (U·diag(s)·Vᴴ)² by `svd` of ((1, 0), (0, 1))",
        lambda xp, x: _put_together(*xp.linalg.svd(x)),
        ([[1.0, 0.0], [0.0, 1.0]],),
    ),
    Case("`sinc(0)`", lambda xp, x: xp.sinc(x), (0.0,)),
    Case(
        "`logaddexp(-inf, -inf)`",
        lambda xp, x, y: xp.logaddexp(x, y),
        (-np.inf, -np.inf),
    ),
    Case("`x[[0, 0, 1]]`", lambda xp, x: x[xp.asarray([0, 0, 1])], ([1.0, 2.0],)),
    Case(
        "`where(x > 0, log(x), 0)` at 0",
        lambda xp, x: xp.where(x > 0, xp.log(x), xp.zeros_like(x)),
        (0.0,),
    ),
    Case(
        "`where(x > 0, sqrt(x), 0)` at 0",
        lambda xp, x: xp.where(x > 0, xp.sqrt(x), xp.zeros_like(x)),
        (0.0,),
    ),
    Case(
        "`where(x < 1, exp(x), x)` at 1000",
        lambda xp, x: xp.where(x < 1, xp.exp(x), x),
        (1000.0,),
    ),
    Case(
        "`where(m, a / b, 0)`, m false, a = 1, b = 0",
        lambda xp, a, b: xp.where(a < 0, a / b, xp.zeros_like(a)),
        (1.0, 0.0),
    ),
]


def in_minigrad(f: Callable[..., Any], at: Sequence[Any]) -> list[Any]:
    """Return the gradients of f at a point; so do the functions below."""
    import minigrad as mg

    xs = [mg.tensor(np.asarray(x, np.float64), requires_grad=True) for x in at]
    with np.errstate(all="ignore"):
        f(mg, *xs).sum().backward()
    return [x.grad.tolist() for x in xs]


def in_torch(f: Callable[..., Any], at: Sequence[Any]) -> list[Any]:
    """By torch.autograd."""
    import torch

    xs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in at]
    f(torch, *xs).sum().backward()
    return [x.grad.tolist() for x in xs]


def in_jax(f: Callable[..., Any], at: Sequence[Any]) -> list[Any]:
    """By jax.grad."""
    import jax

    with jax.enable_x64(True):
        xs = [jax.numpy.asarray(x, dtype=np.float64) for x in at]
        gradient = jax.grad(lambda *xs: f(jax.numpy, *xs).sum(), argnums=tuple(range(len(xs))))
        return [g.tolist() for g in gradient(*xs)]


LIBRARIES = {"minigrad": in_minigrad, "PyTorch": in_torch, "JAX": in_jax}


def shown(gradients: Iterable[Any]) -> str:
    """Return gradients as a reader writes them: (1, 0), a semicolon between inputs."""

    def one(g: Any) -> str:
        return f"({', '.join(map(one, g))})" if isinstance(g, list) else f"{g + 0.0:.4g}"  # no -0

    return "; ".join(map(one, gradients))


def cell(case: Case, library: str) -> str:
    """Return the gradients of a case in one library, as the table has them."""
    return shown(LIBRARIES[library](case.other.get(library, case.f), case.at))


def table(libraries: Iterable[str] = LIBRARIES) -> str:
    """Return the table in Markdown, a column for each library."""
    libraries = list(libraries)
    lines = [f"| gradient of | {' | '.join(libraries)} |", "| --- " * (len(libraries) + 1) + "|"]
    for case in CASES:
        cells = [cell(case, library) for library in libraries]
        lines.append(f"| {case.what} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        print(table())
    except ModuleNotFoundError as error:
        sys.exit(f'{error}; install what this compares with: pip install -e ".[compare]"')
