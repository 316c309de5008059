"""Functions of functions: derivatives as values, of any order.

A transform calls its function with inputs of its own, made from those that came, and differentiates
with respect to these alone: whatever the function closes over counts as constant, be it the same
tensor, and what an outer transform or the caller's tape follows stays connected. Inputs and
outputs are trees of tensors (`minigrad.trees`); NumPy arrays and Python floats become tensors.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from operator import attrgetter, index
from typing import Any

from .engine import (
    NO_PARAMS,
    Attached,
    Node,
    Tensor,
    backward,
    enable_grad,
    is_grad_enabled,
    tick,
)
from .messages import require_alike
from .ops.creation import arange, astype, ones_like, zeros, zeros_like
from .ops.shape import reshape, stack
from .trees import flatten

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]

Function = Callable[..., Any]


class _Bound(Attached):
    """Hangs on a leaf that a transform has made; closed once its function has returned."""

    is_private, closed = True, False


def is_outside(node: Node, since: int) -> bool:
    """Whether others may differentiate by what a node stands for, or may have, and freed it.

    It is older than `since`, or a leaf that no transform has closed.
    """
    is_open = node.op is None and not getattr(node.attached, "closed", False)
    return node.id < since or is_open or node.saved is None


def nodes_since(since: int, tensors: Iterable[Tensor]) -> list[Node]:
    """Return the nodes under tensors that are not older than `since`, oldest first."""
    stack = [t.node for t in tensors if t.node is not None and t.node.id >= since]
    seen = set(stack)
    while stack:
        for parent in stack.pop().parents:
            if parent.id >= since and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=attrgetter("id"))


def pull(
    ys: Iterable[Tensor], gs: Iterable[Tensor | None], targets: Sequence[Any], **options: bool
) -> list[Tensor | None]:
    """Return the cotangents of targets from those of ys, of which some may be off the tape."""
    pairs = zip(ys, gs, strict=True)
    roots = [(y.node, y.index, g) for y, g in pairs if y.node is not None and g is not None]
    return backward(roots, targets, stop=True, **options)


class _Run:
    """One call of a function on inputs of its own, by which it can then be differentiated.

    They are leaves that are closed when the function has returned; or views of what came, where
    that is on a tape and the caller records. What leads to closed leaves alone is taken off the
    tape in the end, since no one can differentiate it.
    """

    def __init__(
        self,
        name: str,
        f: Function,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] = NO_PARAMS,
        argnums: Iterable[int] | None = None,
        *,
        has_aux: bool = False,
        kinds: str = "f",
        since: int | None = None,
    ) -> None:
        self.name, self.since = name, tick() if since is None else since
        self.bound: list[_Bound] = []
        chosen = range(len(args)) if argnums is None else argnums
        values, self.inputs = flatten({i: args[i] for i in chosen})
        self.xs = list(map(self.own_input, values, self.inputs.paths("args")))
        own = self.inputs.build(self.xs)
        with enable_grad():
            result = f(*(own.get(i, arg) for i, arg in enumerate(args)), **kwargs)
        for bound in self.bound:
            bound.closed = True
        self.aux = None
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise TypeError(f"{name}: with has_aux, f returns (value, aux), got {result!r}")
            result, self.aux = result
        self.ys, self.outputs = flatten(result)
        for y, path in zip(self.ys, self.outputs.paths("the result"), strict=True):
            if not isinstance(y, Tensor) or y.dtype.kind not in kinds:
                came = y.dtype if isinstance(y, Tensor) else type(y).__name__
                raise TypeError(f"{name}: {path} must be a tensor of a floating dtype, got {came}")
        self.is_followed = bool(self.followed([*self.ys, *flatten(self.aux)[0]]))

    def own_input(self, value: Any, path: str) -> Tensor:
        """Return a tensor of the same value by which only this run differentiates."""
        try:
            x = value if isinstance(value, Tensor) else Tensor(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{self.name}: {path}: {error}") from None
        if x.dtype.kind != "f":
            raise TypeError(
                f"{self.name}: only floating tensors have derivatives, but {path} is {x.dtype}; "
                "cast it with astype, or leave it out of argnums"
            )
        if x.node is not None and is_grad_enabled():
            return reshape(x, x.shape)
        leaf = x.detach().requires_grad_()
        self.bound.append(_Bound(x.dtype))
        leaf._tracked_node(self.name).attached = self.bound[-1]
        return leaf

    def followed(self, values: Iterable[Any]) -> set[Node]:
        """Return the nodes at and under values by which someone outside can differentiate."""
        tensors = [v for v in values if isinstance(v, Tensor)]
        found = {t.node for t in tensors if t.node and is_outside(t.node, self.since)}
        for node in nodes_since(self.since, tensors):
            if is_outside(node, self.since) or any(
                parent in found or parent.id < self.since for parent in node.parents
            ):
                found.add(node)
        return found

    def pull_back(self, gs: Sequence[Tensor | None], again: bool = False) -> list[Tensor]:
        """Return the cotangent of each input from those of the outputs; `again`: not the last time.

        They are recorded only where someone outside can differentiate them.
        """
        records = is_grad_enabled() and (self.is_followed or bool(self.followed(gs)))
        options = {"retain_graph": again or records, "create_graph": records}
        found = pull(self.ys, gs, self.xs, **options)
        return [zeros_like(x) if g is None else g for x, g in zip(self.xs, found, strict=True)]

    def like_inputs(self, values: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(self.inputs.build(values).values())

    def released(self, tree: Any) -> Any:
        """Return a tree with its tensors off the tape, but for what someone outside follows."""
        values, structure = flatten(tree)
        followed = self.followed(values) if is_grad_enabled() else set[Node]()
        return structure.build(
            v.detach()
            if isinstance(v, Tensor)
            and v.node
            and not (v.node in followed or is_outside(v.node, self.since))
            else v
            for v in values
        )


def _positions(name: str, argnums: int | Sequence[int], count: int) -> list[int]:
    """Return argnums as positions from 0; IndexError where there is no such argument."""
    given = list(argnums) if isinstance(argnums, Sequence) else [argnums]
    positions = [index(i) + (count if i < 0 else 0) for i in given]
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

    @wraps(f, updated=())
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        positions = _positions("grad", argnums, len(args))
        run = _Run("grad", f, args, kwargs, positions, has_aux=has_aux)
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
    run = _Run("vjp", f, xs, has_aux=has_aux, kinds="fc")

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
    run = _Run("jvp", f, args)
    vs = run.inputs.values_of(dict(enumerate(tangents)), "jvp: vs")
    alike = [_like(x, v, "jvp: vs") for x, v in zip(run.xs, vs, strict=True)]
    # 0 as the cotangent: it cannot overflow, and the pullback is differentiated anywhere.
    us = [zeros_like(y) for y in run.ys]
    pulled = _Run("jvp", lambda *us: run.pull_back(us), us, since=run.since)
    value, tangent = run.outputs.build(run.ys), run.outputs.build(pulled.pull_back(alike))
    result: tuple[Any, Any] = run.released((value, tangent))
    return result


def jacobian(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Return the function that gives the derivative of each output of f by each input.

    For each output, a tree like the inputs named by argnums, as `grad` has it, with the shapes
    output.shape + input.shape. One backward pass for each element of the outputs.
    """

    @wraps(f, updated=())
    def derivatives(*args: Any, **kwargs: Any) -> Any:
        run = _Run("jacobian", f, args, kwargs, _positions("jacobian", argnums, len(args)))
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
    return jacobian(jacobian(f, argnums), argnums)


def hvp(f: Function, xs: Any, vs: Any) -> Any:
    """Return the Hessian of f, one number of shape (), at xs times vs: a tree like xs.

    xs and vs as `jvp` takes them. The Hessian is symmetric, so one more backward pass through the
    gradient, with vs as the cotangent, is enough.
    """
    args, vectors = _arguments("hvp", xs, vs)
    gradient = grad(f, tuple(range(len(args))))
    _, pull_back = vjp(gradient, *args)
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
