"""What a picture shows: boxes in an order of computation, and the values that flow into them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

import numpy as np

from ..engine import Node, Op, Tensor
from ..markup import Host, number

#: A value, as `key_of` names it.
Key = tuple[Node | None, int, int]


@dataclass
class Value:
    """One output of a box, or a leaf; what is not known is None."""

    key: Key
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None = None
    tensor: Tensor | None = None  # what holds the elements, until they are read
    data: Host | None = None
    gradient: Host | None = None
    label: str = ""  # the output's name where an op has several

    def read(self) -> None:
        """Bring the elements and the gradient that there is now to the host."""
        if self.tensor is not None:
            self.data, self.tensor = self.tensor.to_host(copy=True), None
        node, index, _ = self.key
        gradient = node.attached.grads.get(index) if node and node.attached else None
        if gradient is not None:
            self.gradient = gradient.to_host(copy=True)


@dataclass
class Edge:
    """A value's way into an op: from which box and which of its values."""

    source: int
    value: int
    tracked: bool
    position: int = 0  # among the op's arguments
    flow: Host | None = None  # what the op's rule gave for this input


@dataclass
class Box:
    """A leaf, a constant or one run of an op.

    kind: "leaf", "constant", "op" or "cut", which stands for inputs that are not drawn.
    turn: when backward came here, from 1; None where it did not.
    call: what the tape noted of the run.
    """

    kind: str
    title: str
    values: list[Value]
    node: Node | None = None
    edges: list[Edge] = field(default_factory=list)
    turn: int | None = None
    call: Any = None


def heading(op: Op, params: Mapping[str, Any], args: Sequence[Any] = ()) -> str:
    """Return an op's name with its Python numbers and params: pow(·, 2), sum(axis=0)."""
    given = [number(a) if isinstance(a, bool | int | float | complex) else "·" for a in args]
    given = given if any(a != "·" for a in given) else []
    given += [f"{k}={v}" for k, v in params.items() if v is not None and v is not False]
    return f"{op.name}({', '.join(given)})" if given else op.name


def behind(outputs: Sequence[Tensor], named: Iterable[Tensor]) -> list[Box]:
    """Return the boxes of everything on the tape that leads to outputs, oldest first.

    Values are those that a rule keeps or that outputs and named tensors hold; no others are left.
    """
    stack = [y._tracked_node("draw") for y in outputs]
    for node in stack:
        if node.op is not None and node.saved is None:
            raise RuntimeError(
                f"draw: the graph of this result of {node.op.name!r} was freed by backward; draw "
                "it before, use backward(retain_graph=True), or run it under viz.record()"
            )
    nodes = set(stack)
    known: dict[tuple[Node | None, int], Tensor] = {
        (x.node, x.index): x for x in (*named, *outputs)
    }
    used: dict[Node, set[int]] = defaultdict(set)
    for node, y in zip(stack, outputs, strict=True):
        used[node].add(y.index)
    while stack:
        node = stack.pop()
        known |= _held(node)
        for parent, index in zip(node.parents, node.indices, strict=False):
            used[parent].add(index)
            if parent not in nodes:
                nodes.add(parent)
                stack.append(parent)
    ordered = sorted(nodes, key=attrgetter("id"))
    place = {node: at for at, node in enumerate(ordered)}
    slot = {(node, i): at for node in ordered for at, i in enumerate(sorted(used[node]))}
    boxes = []
    for node in ordered:
        values = [
            Value((node, i, 0), node.shapes[i], tensor=known.get((node, i)), label=_label(node, i))
            for i in sorted(used[node])
        ]
        if node.op is None:
            values[0].dtype = node.watch().dtype
            boxes.append(Box("leaf", "leaf", values, node))
            continue
        freed = " (freed by backward)" if node.saved is None else ""
        box = Box("op", heading(node.op, node.params) + freed, values, node)
        for parent, i in zip(node.parents, node.indices, strict=False):
            box.edges.append(Edge(place[parent], slot[parent, i], True))
        boxes.append(box)
    return boxes


def _held(node: Node) -> dict[tuple[Node | None, int], Tensor]:
    """Return the values on the tape that a node keeps for its rule."""
    if node.op is None or node.saved is None:
        return {}
    inputs, outputs = node.saved[: node.plan.kept], node.saved[node.plan.kept : node.plan.tensors]
    held: dict[tuple[Node | None, int], Tensor] = {(node, twin.index): twin for twin in outputs}
    for value in inputs:
        if isinstance(value, Tensor) and value.node is not None:
            held[value.node, value.index] = value
    return held


def _label(node: Node, index: int) -> str:
    return node.op.outputs[index] if node.op and len(node.op.outputs) > 1 else ""


def newest(boxes: list[Box], limit: int) -> tuple[list[Box], int]:
    """Return the newest boxes and how many are left out.

    A box of kind "cut" stands before each whose inputs are left out.
    """
    left_out = max(len(boxes) - limit, 0)
    if not left_out:
        return boxes, 0
    kept: list[Box] = []
    place: dict[int, int] = {}
    for old, box in enumerate(boxes[left_out:], left_out):
        edges = [
            replace(edge, source=place[edge.source])
            for edge in box.edges
            if edge.source >= left_out
        ]
        if len(edges) < len(box.edges):
            edges.insert(0, Edge(len(kept), 0, tracked=False))
            kept.append(Box("cut", "…", []))
        place[old] = len(kept)
        kept.append(replace(box, edges=edges))
    return kept, left_out
