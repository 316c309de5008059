"""Functions of functions: derivatives as values, of any order.

A transform calls its function with inputs of its own, made from those that came, and differentiates
with respect to these alone: whatever the function closes over counts as constant, be it the same
tensor, and what an outer transform or the caller's tape follows stays connected. Inputs and
outputs are trees of tensors (`minigrad.trees`); NumPy arrays and Python floats become tensors.
"""

from collections.abc import Sequence
from functools import wraps
from typing import Any

from .engine import Tensor
from .messages import require_alike, require_argnums
from .ops.creation import arange, astype, ones_like, zeros, zeros_like
from .ops.shape import reshape, stack
from .runs import Function, Run

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]


def _require_arguments(name: str, f: Any, argnums: Any) -> None:
    if not callable(f):
        raise TypeError(
            f"{name}: expected a function, got {type(f).__name__}; mg.autograd.grad takes tensors"
        )
    require_argnums(name, argnums)


def _positions(name: str, argnums: int | Sequence[int], count: int) -> list[int]:
    """Return argnums as positions from 0; IndexError where there is no such argument."""
    if not count:
        raise TypeError(f"{name}: pass what to differentiate by as positional arguments")
    given = argnums if isinstance(argnums, Sequence) else [argnums]
    positions = [i + (count if i < 0 else 0) for i in given]
    if not all(0 <= i < count for i in positions) or len(set(positions)) < len(positions):
        raise IndexError(
            f"{name}: argnums must name different ones of the {count} positional arguments, "
            f"got {argnums}"
        )
    return positions


def grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """Return the function that gives the gradient of f, one floating number of shape ().

    The gradient is like argument number `argnums`, a tree of its shapes and dtypes, or a tuple for
    several; zero where f does not use an input. has_aux: f returns (value, aux), and (gradient,
    aux) comes back. Keyword arguments are passed on. The gradient is on the tape only where an
    outer transform, or a tensor that requires grad, is involved; not under `no_grad`, inside
    which f is recorded all the same. TypeError for inputs that are not floating and for results
    that are no tensor, ValueError for results of another shape.
    """
    _require_arguments("grad", f, argnums)
    both = value_and_grad(f, argnums, has_aux)

    @wraps(f, updated=())
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, grads = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return gradient


def value_and_grad(
    f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Function:
    """Return the function that gives (value, gradient) of f, or ((value, aux), gradient).

    See `grad`.
    """
    _require_arguments("value_and_grad", f, argnums)

    @wraps(f, updated=())
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        positions = _positions("grad", argnums, len(args))
        run = Run("grad", f, args, kwargs, positions, has_aux=has_aux)
        if len(run.ys) != 1 or run.ys[0].shape != ():
            came = ", ".join(f"{y.dtype} {y.shape}" for y in run.ys) or "no tensor"
            raise ValueError(
                f"grad: f must return one floating number, a tensor of shape (), got {came}; "
                "reduce it with sum() or mean(), or use vjp or jacobian"
            )
        value, aux = run.released((run.outputs.build(run.ys), run.aux))
        grads = run.released(run.like_inputs(run.pull_back([ones_like(run.ys[0])])))
        grads = grads if isinstance(argnums, Sequence) else grads[0]
        return ((value, aux) if has_aux else value), grads

    return value_and_gradient


def vjp(f: Function, *xs: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """Return f(*xs) and the function from a cotangent of it to the tuple of cotangents of xs.

    The cotangent is a tree like the result; the function can be called any number of times.
    has_aux: f returns (value, aux), and (value, function, aux) comes back.
    """
    run = Run("vjp", f, xs, has_aux=has_aux, kinds="fc")

    def pull_back(cotangent: Any) -> Any:
        gs = run.outputs.values_of(cotangent, "vjp: the cotangent")
        alike = [_like(y, g, "vjp: the cotangent") for y, g in zip(run.ys, gs, strict=True)]
        return run.released(run.like_inputs(run.pull_back(alike, again=True)))

    value, aux = run.released((run.outputs.build(run.ys), run.aux))
    return (value, pull_back, aux) if has_aux else (value, pull_back)


def jvp(f: Function, xs: Any, vs: Any) -> tuple[Any, Any]:
    """Return f(*xs) and its derivative along vs, a tree like xs: the tangent.

    xs and vs are tuples or lists of arguments; one argument that is neither may stand alone. The
    pullback is linear in the cotangent, so the derivative of the pullback is what is sought
    (Townsend, "A new trick for calculating Jacobian vector products", 2017).
    """
    args, tangents = _arguments("jvp", xs, vs)
    run = Run("jvp", f, args)
    vs = run.inputs.values_of(dict(enumerate(tangents)), "jvp: vs")
    alike = [_like(x, v, "jvp: vs") for x, v in zip(run.xs, vs, strict=True)]
    # 0 as the cotangent: it cannot overflow, and the pullback is differentiated anywhere.
    us = [zeros_like(y) for y in run.ys]
    pulled = Run("jvp", lambda *us: run.pull_back(us), us, since=run.since)
    value, tangent = run.outputs.build(run.ys), run.outputs.build(pulled.pull_back(alike))
    result: tuple[Any, Any] = run.released((value, tangent))
    return result


def jacobian(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Return the function that gives the derivative of each output of f by each input.

    For each output, a tree like the inputs named by argnums, as `grad` has it, with the shapes
    output.shape + input.shape. One backward pass for each element of the outputs.
    """
    _require_arguments("jacobian", f, argnums)

    @wraps(f, updated=())
    def derivatives(*args: Any, **kwargs: Any) -> Any:
        run = Run("jacobian", f, args, kwargs, _positions("jacobian", argnums, len(args)))
        blocks = []
        for k, y in enumerate(run.ys):
            gs: list[Tensor | None] = [None] * len(run.ys)
            rows = []
            for i in range(y.size):
                gs[k] = reshape(astype(arange(y.size, backend=y.backend) == i, y.dtype), y.shape)
                rows.append(run.pull_back(gs, again=True))
            columns = list(zip(*rows, strict=True)) or [()] * len(run.xs)
            by_input = run.like_inputs(
                reshape(stack(column), y.shape + x.shape)
                if column
                else zeros(y.shape + x.shape, dtype=x.dtype, backend=x.backend)
                for x, column in zip(run.xs, columns, strict=True)
            )
            blocks.append(by_input if isinstance(argnums, Sequence) else by_input[0])
        return run.released(run.outputs.build(blocks))

    return derivatives


def hessian(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Return the function that gives the second derivatives of f: jacobian(jacobian(f)).

    For each output, a tree like the inputs of trees like the inputs.
    """
    _require_arguments("hessian", f, argnums)
    return jacobian(jacobian(f, argnums), argnums)


def hvp(f: Function, xs: Any, vs: Any) -> Any:
    """Return the Hessian of f, one number of shape (), at xs times vs: a tree like xs.

    xs and vs as `jvp` takes them. The Hessian is symmetric, so one more backward pass through the
    gradient, with vs as the cotangent, is enough.
    """
    args, vectors = _arguments("hvp", xs, vs)
    _, pull_back = vjp(grad(f, tuple(range(len(args)))), *args)
    products = pull_back(tuple(vectors))
    return type(xs)(products) if type(xs) in (tuple, list) else products[0]


def _arguments(name: str, xs: Any, vs: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return xs and vs as sequences of arguments; ValueError where there are not as many."""
    args, along = (tree if type(tree) in (tuple, list) else (tree,) for tree in (xs, vs))
    if len(args) != len(along):
        raise ValueError(f"{name}: vs must be like the {len(args)} xs, got {len(along)}")
    return args, along


def _like(old: Tensor, new: Any, what: str) -> Tensor:
    """Return new as a tensor, which must have old's shape, dtype and device."""
    tensor = new if isinstance(new, Tensor) else Tensor(new, old.dtype, backend=old.backend)
    require_alike(what, tensor, old)
    return tensor
