"""What transforms stand on: a call of a function on inputs of its own, and who else follows it.

Node ids are a clock, so what a call has put on the tape is what is not older than its start.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
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
from .ops.creation import zeros_like
from .ops.shape import reshape
from .trees import flatten

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


class Run:
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
