"""Functions that are one node of the tape: run again in backward, or with a rule of their own."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial, wraps
from typing import Any

import numpy as np

from . import backends
from .arrays import get_default_dtype, set_default_dtype
from .engine import (
    CONSTANT,
    UNRECORDED,
    Node,
    Op,
    Tensor,
    enable_grad,
    is_grad_enabled,
    no_grad,
    record,
    tick,
)
from .messages import require_alike
from .ops.creation import zeros
from .ops.random import noting_draws, redrawing
from .runs import Function, is_outside, nodes_since, pull
from .trees import Structure, flatten

__all__ = ["checkpoint", "custom_vjp"]

Surrounding = Callable[[], AbstractContextManager[Any]]


@cache
def _op(name: str, kept: int, others: int, outputs: int) -> Op:
    """Return an op of so many inputs and outputs whose rule is that of its param `of`.

    The tape keeps the first `kept` inputs, on which the rule depends.
    """
    xs = [f"x{i}" for i in range(kept)]
    names = (*xs, *(f"closed_over{i}" for i in range(others)))
    ys = tuple(f"y{i}" for i in range(outputs)) if outputs > 1 else ("out",)
    gs = [f"g_{y}" for y in ys] if outputs > 1 else ["g"]

    def rule(*values: Any) -> Any:
        return values[-1].pull_back(values[:outputs], values[outputs:-1])

    forward = _with_names(lambda: None, ["xp", *names], ["of"])
    vjp = {names: _with_names(rule, [*gs, *xs, "of"])}
    return Op(name, forward, vjp, outputs=ys, complex_rules=True, listed=False)


def _with_names(function: Function, names: Sequence[str], keywords: Sequence[str] = ()) -> Function:
    """Give a function the signature by which `Op` learns what is what."""
    kinds = inspect.Parameter
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [kinds(name, kinds.POSITIONAL_OR_KEYWORD) for name in names]
        + [kinds(name, kinds.KEYWORD_ONLY) for name in keywords]
    )
    return function


#: What stands around a call beside its arguments and is entered again when it is run again.
surroundings: ContextVar[tuple[Surrounding, ...]] = ContextVar("minigrad_surroundings", default=())


@contextmanager
def _default_dtype_is(dtype: Any) -> Iterator[None]:
    before = get_default_dtype()
    set_default_dtype(dtype)
    try:
        yield
    finally:
        set_default_dtype(before)


@dataclass(eq=False)
class _Edge:
    """A place on the tape, as `record` reads it from a tensor."""

    node: Node
    index: int


def _edges(since: int, ys: Sequence[Tensor]) -> dict[tuple[int, int], _Edge]:
    """Return the places outside from which ys were computed, by node id and index."""
    edges = [_Edge(y.node, y.index) for y in ys if y.node is not None]
    for node in nodes_since(since, ys):
        edges += map(_Edge, node.parents, node.indices)
    return {(e.node.id, e.index): e for e in edges if is_outside(e.node, since)}


_BLANK = object()  # where a tensor was: the tape holds it


def _blanked(values: Sequence[Any]) -> tuple[list[Tensor], list[Any]]:
    """Return the tensors among values, and the values without them."""
    tensors = [v for v in values if isinstance(v, Tensor)]
    return tensors, [_BLANK if isinstance(v, Tensor) else v for v in values]


def _filled(blanked: Sequence[Any], tensors: Iterable[Tensor]) -> list[Any]:
    source = iter(tensors)
    return [next(source) if v is _BLANK else v for v in blanked]


def _key(x: Tensor) -> tuple[int, int] | None:
    return None if x.node is None else (x.node.id, x.index)


@dataclass(eq=False, repr=False)
class _Recomputation:
    """A call that is made again in backward. given: the values of its arguments, a tree, blanked.

    at: which of the result's values were on the tape; alike: their shapes and dtypes; closed_over:
    from which places beside the arguments' they came; around: what is entered first; called: when.
    """

    f: Function
    given: list[Any]
    structure: Structure
    at: list[int]
    alike: list[Any]
    closed_over: list[tuple[int, int]]
    around: tuple[Surrounding, ...]
    called: int

    def __repr__(self) -> str:
        return _name(self.f)

    def pull_back(self, gs: Sequence[Tensor | None], xs: Sequence[Tensor]) -> list[Tensor | None]:
        records, since = is_grad_enabled(), tick()
        args, kwargs = self.structure.build(_filled(self.given, xs))
        with ExitStack() as stack:
            for surrounding in (enable_grad, *self.around):
                stack.enter_context(surrounding())
            values, _ = flatten(self.f(*args, **kwargs))
        ys = [values[i] for i in self.at if i < len(values) and isinstance(values[i], Tensor)]
        edges, own = _edges(since, ys), [_key(x) for x in xs]
        changed = any(
            isinstance(value, Tensor) and value._writes and self.called < value._writes[0] < since
            for node in nodes_since(since, ys)
            for value in node.saved or ()
        )
        other = {*edges} - {*own} != {*self.closed_over}
        if changed or other or [(y.shape, y.dtype) for y in ys] != self.alike:
            raise RuntimeError(
                f"checkpoint: called again in backward, {self} used other values or returned other "
                "shapes than before; what it depends on must stay, or be an argument"
            )
        options = {"retain_graph": records, "create_graph": records}
        by_key = dict(zip(edges, pull(ys, gs, [*edges.values()], **options), strict=True))
        # pop: where a tensor was given twice, the first place gets the whole of its cotangent.
        return [by_key.pop(key, None) if key else None for key in [*own, *self.closed_over]]


def checkpoint(f: Function) -> Function:
    """Return f, but the tape keeps its inputs alone: backward calls f again for the rest.

    f may take and return any trees. Tensors that it closes over, such as a module's parameters, get
    their gradients as well. The second call draws the same random numbers and finds the same
    default backend and dtype and the same `functional_call`s around it; whatever else f depends on
    must not have changed, and its side effects happen twice. RuntimeError in backward where it used
    other tensors than the first time.
    """

    @wraps(f, updated=())
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if not is_grad_enabled():
            return f(*args, **kwargs)
        since = tick()
        with noting_draws() as drawn:
            values, outputs = flatten(f(*args, **kwargs))
        at = [i for i, y in enumerate(values) if isinstance(y, Tensor) and y.node]
        if not at:
            return outputs.build(values)
        edges = _edges(since, [values[i] for i in at])
        given, structure = flatten((args, kwargs))
        given = [v.copy() if _is_array(v) else v for v in given]  # the caller may reuse them
        xs, given = _blanked(given)
        own = {_key(x) for x in xs}
        closed_over = [key for key in edges if key not in own]
        around: tuple[Surrounding, ...] = (
            *surroundings.get(),
            partial(backends.use_backend, backends.default().name),
            partial(_default_dtype_is, get_default_dtype()),
            partial(redrawing, drawn),
        )
        ys = tuple(values[i].detach() for i in at)
        alike = [(y.shape, y.dtype) for y in ys]
        again = _Recomputation(f, given, structure, at, alike, closed_over, around, tick())
        op = _op("checkpoint", len(xs), len(closed_over), len(ys))
        record(op, [*xs, *(edges[key] for key in closed_over)], {"of": again}, ys)
        at_tape = dict(zip(at, ys, strict=True))
        return outputs.build(at_tape.get(i, value) for i, value in enumerate(values))

    return checkpointed


@dataclass(eq=False, repr=False)
class _CustomRule:
    """A call whose cotangents `vjp` gives. inputs: blanked; alike: tensors like the outputs."""

    forward: Function
    vjp: Function
    inputs: list[Any]
    outputs: Structure
    alike: list[tuple[Any, Any, Any]]

    def __repr__(self) -> str:
        return _name(self.forward)

    def pull_back(self, gs: Sequence[Tensor | None], xs: Sequence[Tensor]) -> list[Tensor | None]:
        cotangent = self.outputs.build(
            zeros(shape, dtype=dtype, backend=backend) if g is None else g
            for g, (shape, dtype, backend) in zip(gs, self.alike, strict=True)
        )
        inputs = _filled(self.inputs, xs)
        found = self.vjp(cotangent, *inputs)
        found = found if isinstance(found, tuple | list) else (found,)
        if len(found) != len(inputs):
            raise ValueError(
                f"custom_vjp: the rule of {self} must return one cotangent for each of its "
                f"{len(inputs)} inputs, None where there is none, got {len(found)}"
            )
        cotangents = []
        for i, (x, g) in enumerate(zip(inputs, found, strict=True)):
            what = f"custom_vjp: the cotangent of input {i} of {self}"
            if not (g is None or isinstance(g, Tensor)):
                raise TypeError(f"{what} must be a Tensor or None, not {type(g).__name__}")
            if isinstance(x, Tensor):
                if g is not None and x.node:
                    require_alike(what, g, x)
                cotangents.append(g)
        return cotangents


def custom_vjp(forward: Function, vjp: Function) -> Function:
    """Return forward as a function with the derivative rule `vjp`.

    forward(*inputs) takes tensors, off the tape (arrays become tensors; anything else, a number or
    a flag, is passed on and has no derivative) and returns a tensor or a tree of them.
    vjp(g, *inputs) takes the cotangent g, a tree like the result, 0 for what was not used, and
    returns one cotangent per input, like the input, or None for no derivative; bare where there is
    one input. It is differentiated for second derivatives; forward is not: what either closes over
    counts as constant. TypeError for what is no tensor, ValueError for another number of
    cotangents, shape or dtype.
    """

    @wraps(forward, updated=())
    def custom(*inputs: Any) -> Any:
        name = _name(forward)
        xs, blanked = _blanked([Tensor(x) if _is_array(x) else x for x in inputs])
        if any(isinstance(v, Tensor) for x in blanked for v in flatten(x)[0]):
            raise TypeError(f"custom_vjp: {name} takes tensors as inputs of their own, not trees")
        with no_grad():
            values, outputs = flatten(forward(*_filled(blanked, (x.detach() for x in xs))))
        for y in values:
            if not isinstance(y, Tensor):
                raise TypeError(f"custom_vjp: {name} must return tensors, got {type(y).__name__}")
        ys = tuple(y.detach() for y in values)
        followed = any(x.node for x in xs)
        for y in ys:
            y.index = UNRECORDED if followed else CONSTANT
        if followed and is_grad_enabled() and any(y.dtype.kind in "fc" for y in ys):
            alike = [(y.shape, y.dtype, y.backend) for y in ys]
            rule = _CustomRule(forward, vjp, blanked, outputs, alike)
            record(_op("custom_vjp", len(xs), 0, len(ys)), xs, {"of": rule}, ys)
        return outputs.build(ys)

    return custom


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray) or backends.of_device_array(x) is not None


def _name(f: Function) -> str:
    return getattr(f, "__name__", type(f).__name__)
