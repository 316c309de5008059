"""Is a derivative right? `gradcheck` compares it with central differences."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .autograd import grad
from .engine import Tensor, enable_grad, no_grad

__all__ = ["GradcheckError", "gradcheck"]

Matrix = np.ndarray[Any, np.dtype[np.float64]]


class GradcheckError(AssertionError):
    """A derivative that central differences do not confirm, or a point where they cannot."""


@enable_grad()
def gradcheck(
    f: Callable[..., Any],
    inputs: Any,
    order: int = 1,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    fast: bool = False,
) -> bool:
    """Check the derivatives of f against central differences of step eps; True if right.

    f: takes the inputs, returns a tensor or several. inputs: a float64 tensor or array, or a
    sequence of them in any layout; others (indices, masks) are passed on as they are. order: 2
    checks the derivatives' derivatives too. fast: along one random direction, and in full only
    where that fails, to name the element. Raises GradcheckError with a report per input for a
    derivative off by more than atol + rtol·|numeric|, a point near a kink, an f that gives
    different values when called twice; TypeError for floating inputs of another dtype.
    """
    points = [_leaf(x) for x in (inputs if isinstance(inputs, tuple | list) else (inputs,))]
    if not any(x.requires_grad for x in points):
        raise TypeError("gradcheck: expected at least one float64 input")
    if order < 1:
        raise ValueError(f"gradcheck: order must be at least 1, got {order}")
    checker = _Checker(f, points, eps, atol, rtol)
    if not (fast and checker.agrees_along_a_direction()):
        checker.check_every_element()
    if order > 1:
        _check_higher(f, points, order, eps=eps, atol=atol, rtol=rtol, fast=fast)
    return True


def _leaf(x: Any) -> Tensor:
    """Return a leaf on the same memory, so that an unusual layout is checked as it is."""
    leaf: Tensor = x.detach() if isinstance(x, Tensor) else Tensor(x)
    if leaf.dtype.kind == "f" and leaf.dtype != np.float64:
        raise TypeError(f"gradcheck needs float64 inputs, got {leaf.dtype} of shape {leaf.shape}")
    return leaf.requires_grad_(bool(leaf.dtype == np.float64))


def _outputs(result: Any) -> list[Tensor]:
    every = result if isinstance(result, tuple | list) else (result,)
    if not all(isinstance(y, Tensor) for y in every):
        raise TypeError(f"gradcheck: f must return tensors, got {result!r}")
    floating = [y for y in every if y.dtype.kind == "f"]
    if (every and not floating) or any(y.dtype.kind == "c" for y in every):
        raise TypeError(
            f"gradcheck: f must return real floats, got {[str(y.dtype) for y in every]}"
        )
    return floating


def _check_higher(f: Callable[..., Any], points: list[Tensor], order: int, **options: Any) -> None:
    """Check the vjp of f as a function of the point and of the cotangents."""
    rng = np.random.default_rng(1)
    wanted = [i for i, x in enumerate(points) if x.requires_grad]
    with no_grad():
        shapes = [(y.shape, y.backend) for y in _outputs(f(*points))]
    cotangents = [Tensor(rng.standard_normal(s), backend=b) for s, b in shapes]

    @enable_grad()  # the numeric side calls it under no_grad
    def vjp(*args: Tensor) -> list[Tensor]:
        xs, gs = list(args[: len(points)]), list(args[len(points) :])
        for i in wanted:
            xs[i] = xs[i] if xs[i].requires_grad else _leaf(xs[i])
        pairs = [(y, g) for y, g in zip(_outputs(f(*xs)), gs, strict=True) if y.requires_grad]
        ys, gs = [y for y, _ in pairs], [g for _, g in pairs]
        found = grad(ys, [xs[i] for i in wanted], gs, create_graph=True, allow_unused=True)
        return [g for g in found if g is not None]

    try:
        gradcheck(vjp, [*points, *cotangents], order - 1, **options)
    except GradcheckError as error:
        raise GradcheckError(f"in the derivative: {error}") from None


class _Checker:
    """The analytic and the numeric Jacobian of f at one point, as matrices over flat arrays."""

    def __init__(
        self, f: Callable[..., Any], points: list[Tensor], eps: float, atol: float, rtol: float
    ) -> None:
        self.f, self.points = f, points
        self.eps, self.atol, self.rtol = eps, atol, rtol
        self.values = [x.detach().to_host(copy=True) for x in points]
        self.outputs = _outputs(f(*points))
        self.sizes = [y.size for y in self.outputs]
        self.base = self.flat(self.outputs)
        again = self.evaluate({})  # by kernels, which may round otherwise, as it is not recorded
        if not np.allclose(self.base, again, rtol * 1e-3, atol * 1e-3, equal_nan=True):
            raise GradcheckError("f gives different values when called twice: is it random?")

    def flat(self, tensors: Sequence[Tensor]) -> Matrix:
        return np.concatenate([y.detach().to_host().ravel() for y in tensors] or [np.empty(0)])

    def evaluate(self, moved: dict[int, Matrix]) -> Matrix:
        """Return f with some inputs replaced."""
        args = [
            Tensor(moved[i], backend=x.backend) if i in moved else x
            for i, x in enumerate(self.points)
        ]
        with no_grad(), np.errstate(all="ignore"):
            return self.flat(_outputs(self.f(*args)))

    def pull_back(self, cotangent: Matrix) -> list[Matrix]:
        """Return the analytic cotangent of every input that requires grad."""
        parts = np.split(cotangent, np.cumsum(self.sizes)[:-1]) if self.sizes else []
        pairs = [
            (y, Tensor(part.reshape(y.shape), backend=y.backend))
            for y, part in zip(self.outputs, parts, strict=True)
            if y.requires_grad
        ]
        xs = [x for x in self.points if x.requires_grad]
        found: Sequence[Tensor | None] = [None] * len(xs)
        if pairs:
            ys, gs = zip(*pairs, strict=True)
            found = grad(ys, xs, gs, retain_graph=True, allow_unused=True)
        return [
            np.zeros(x.size) if g is None else g.to_host().ravel()
            for x, g in zip(xs, found, strict=True)
        ]

    def slopes(self, moves: dict[int, Matrix]) -> tuple[Matrix, Matrix]:
        """Return the slopes of f after and before the point along a direction."""
        after = self.evaluate({i: self.values[i] + self.eps * v for i, v in moves.items()})
        before = self.evaluate({i: self.values[i] - self.eps * v for i, v in moves.items()})
        with np.errstate(all="ignore"):
            return (after - self.base) / self.eps, (self.base - before) / self.eps

    def agrees_along_a_direction(self) -> bool:
        rng = np.random.default_rng(0)
        moves = {
            i: rng.standard_normal(x.shape) for i, x in enumerate(self.points) if x.requires_grad
        }
        u = rng.standard_normal(sum(self.sizes))
        after, before = self.slopes(moves)
        analytic = sum(
            float(g @ v.ravel()) for g, v in zip(self.pull_back(u), moves.values(), strict=True)
        )
        return bool(np.isclose(analytic, u @ (after + before) / 2, self.rtol, self.atol))

    def check_every_element(self) -> None:
        rows = [self.pull_back(row) for row in np.eye(sum(self.sizes))]
        reports = []
        wanted = [i for i, x in enumerate(self.points) if x.requires_grad]
        for place, i in enumerate(wanted):
            analytic = np.array([row[place] for row in rows]).reshape(
                len(rows), self.points[i].size
            )
            report = self.compare(i, analytic)
            if report:
                reports.append(report)
        if reports:
            raise GradcheckError("; ".join(reports))

    def compare(self, i: int, analytic: Matrix) -> str:
        """Return what is wrong with the derivatives by input i, "" if nothing is."""
        shape = self.points[i].shape
        numeric = np.empty_like(analytic)
        for column in range(analytic.shape[1]):
            direction = np.zeros(shape)
            direction.flat[column] = 1
            after, before = self.slopes({i: direction})
            self.refuse_kink(after, before, i, _index(column, shape))
            numeric[:, column] = (after + before) / 2
        wrong = ~np.isclose(analytic, numeric, self.rtol, self.atol)
        if not wrong.any():
            return ""
        with np.errstate(invalid="ignore"):
            error = np.where(wrong, np.nan_to_num(np.abs(analytic - numeric), nan=np.inf), -1)
        row, column = _index(int(np.argmax(error)), error.shape)
        return (
            f"input {i}, shape {shape}: {wrong.sum()} of {wrong.size} derivatives are wrong, most "
            f"of all {self.name_output(row)} by element {_index(column, shape)}: analytic "
            f"{analytic[row, column]:.9g}, numeric {numeric[row, column]:.9g}"
        )

    def refuse_kink(self, after: Matrix, before: Matrix, i: int, element: tuple[int, ...]) -> None:
        # The slopes of a smooth f differ by eps·f''; at a kink they differ by its jump.
        allowed = 100 * (self.atol + self.rtol * np.maximum(np.abs(after), np.abs(before)))
        with np.errstate(invalid="ignore"):
            smooth = np.abs(after - before) <= allowed
        if not smooth.all():
            row = int(np.argmin(smooth))
            raise GradcheckError(
                f"input {i} is near a kink or a pole at element {element}: the slope "
                f"of {self.name_output(row)} is {before[row]:.6g} before it and {after[row]:.6g} "
                "after it; choose another point"
            )

    def name_output(self, row: int) -> str:
        for number, y in enumerate(self.outputs):
            if row < y.size:
                return f"output {number} element {_index(row, y.shape)}"
            row -= y.size
        raise IndexError(row)


def _index(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, shape))
