"""What is drawn: a tensor's past as the tape has it, or everything that a `Tape` has seen."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from ..autograd import grad
from ..engine import Node, Op, Tensor, apply, enable_grad, observe
from ..markup import FEW
from ..watching import Call, key_of
from .graph import Box, Edge, Key, Value, behind, heading, newest
from .svg import Drawing, Scene

LIMIT = 500


@dataclass
class Run:
    """One run of an op: its arguments are keys of values, or numbers; tracked says which flow."""

    op: Op
    params: Mapping[str, Any]
    args: list[Any]
    tracked: list[bool]
    outputs: list[Key]


class Tape:
    """What `record` saw: every operation with its values, and the gradients once there are some.

    Values are copied when an operation first uses them. Results keep their gradients, as after
    `retain_grad()`: a tape is for looking at a computation, not for training at full speed.
    """

    synchronizes = False

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._seen: dict[Key, Tensor] = {}  # key -> a constant with a copy of the value
        self._alive: list[Tensor] = []  # off the tape, a value is known by its id
        self._sweeping = self._paused = False

    def __repr__(self) -> str:
        recorded = sum(run.outputs[0][0] is not None for run in self._runs)
        return f"<tape: {recorded} recorded>"

    def entered(self, node: Node | None) -> None:
        """Note whether backward is at work."""
        self._sweeping = node is not None

    def read(self, tensor: Tensor) -> None:
        """Nothing to note."""

    def ran(self, call: Call) -> None:
        """Note a run; in backward only one that is recorded itself."""
        tracked = any(y.node is not None for y in call.outputs)
        if self._paused or not call.outputs or (self._sweeping and not tracked):
            return
        args = [self._see(a) if isinstance(a, Tensor) else a for a in call.args]
        flows = [tracked and getattr(a, "node", None) is not None for a in call.args]
        for y in call.outputs:
            if y.node is not None:
                y.retain_grad()
        self._runs.append(
            Run(call.op, call.params, args, flows, [self._see(y) for y in call.outputs])
        )

    def _see(self, tensor: Tensor) -> Key:
        key = key_of(tensor)
        if key not in self._seen:
            self._seen[key] = Tensor(tensor.detach())
            if tensor.node is None:
                self._alive.append(tensor)
        return key

    def draw(
        self,
        names: Mapping[str, Tensor] | None = None,
        *,
        step: int | None = None,
        limit: int = LIMIT,
    ) -> Drawing:
        """Return the picture of what was recorded, with the gradients that there are by now.

        names: a name for tensors in it. step: as it was after so many operations of the backward
        pass, 0 being its start. limit: draw no more than the newest so many boxes. RuntimeError
        where nothing was recorded; ValueError for a step that there was not.
        """
        scene = self._scene(names, limit)
        if step is None:
            return Drawing(scene)
        last = max(scene.turns, default=0)
        if not scene.turns:
            raise ValueError("no step to draw: call backward() first")
        if not 0 <= (at := _integer("step", step)) <= last:
            raise ValueError(f"step must be between 0 and {last}, got {at}")
        return Drawing(scene, at)

    def steps(
        self, names: Mapping[str, Tensor] | None = None, *, limit: int = LIMIT
    ) -> list[Drawing]:
        """Return a picture of backward's start and one after each operation it went through."""
        scene = self._scene(names, limit)
        if not scene.turns:
            raise ValueError("no steps to draw: call backward() first")
        return [Drawing(scene, step) for step in range(max(scene.turns) + 1)]

    def _scene(self, names: Mapping[str, Tensor] | None, limit: int) -> Scene:
        boxes, left_out = newest(self._boxes(), _checked_limit(limit))
        for box in boxes:
            for value in box.values:
                value.read()
        for box in boxes:
            if box.call is not None and box.turn is not None:
                self._fill_flows(box)
        return Scene(boxes, _checked_names(names), left_out)

    def _boxes(self) -> list[Box]:
        """Return the boxes of all results on the tape and of what led to them, oldest first."""
        runs: list[Run] = []
        used: set[Key] = set()
        for run in reversed(self._runs):
            if any(key[0] is not None or key in used for key in run.outputs):
                runs.append(run)
                used.update(a for a in run.args if isinstance(a, tuple))
        if not runs:
            raise RuntimeError(
                "nothing to draw: no operation on a tensor that requires grad was recorded; "
                "compute inside `with mg.viz.record() as tape:`"
            )
        boxes: list[Box] = []
        place: dict[Key, tuple[int, int]] = {}  # key -> box and value
        for run in reversed(runs):
            for key in run.args:
                if isinstance(key, tuple) and key not in place:
                    place[key] = len(boxes), 0
                    boxes.append(_origin(self._value(key)))
            kind = "op" if any(isinstance(a, tuple) for a in run.args) else "constant"
            title = heading(run.op, run.params, run.args)
            box = Box(kind, title, [], run.outputs[0][0], call=run)
            for position, (key, tracked) in enumerate(zip(run.args, run.tracked, strict=True)):
                if isinstance(key, tuple):
                    box.edges.append(Edge(*place[key], tracked, position))
            shown = [i for i, key in enumerate(run.outputs) if key in used] or [0]
            for i in shown:
                place[run.outputs[i]] = len(boxes), len(box.values)
                box.values.append(self._value(run.outputs[i]))
                box.values[-1].label = run.op.outputs[i] if len(run.outputs) > 1 else ""
            boxes.append(box)
        swept = [box for box in boxes if box.call is not None and _gradients(box.node)]
        for turn, box in enumerate(sorted(swept, key=_age, reverse=True), 1):
            box.turn = turn
        return boxes

    def _value(self, key: Key) -> Value:
        tensor = self._seen[key]
        return Value(key, tensor.shape, tensor.dtype, tensor)

    def _fill_flows(self, box: Box) -> None:
        """Note what the box's rule gave each input, by running the op once more on its own.

        The rule hands its results on to be summed, so nothing else shows them. Ops that write are
        not run again, nor those whose gradients would be too long to be written on an arrow.
        """
        run: Run = box.call
        edges = [edge for edge in box.edges if edge.tracked]
        seen = {edge.position: self._seen[run.args[edge.position]] for edge in edges}
        if run.op.writes or all(x.size > FEW for x in seen.values()):
            return
        points = {at: x.detach().requires_grad_() for at, x in seen.items() if x.dtype.kind == "f"}
        args = [self._seen[a] if isinstance(a, tuple) else a for a in run.args]
        self._paused = True
        try:
            with enable_grad(), np.errstate(all="ignore"):
                result = apply(run.op, [points.get(i, a) for i, a in enumerate(args)], run.params)
                outputs = result if isinstance(result, tuple) else (result,)
                given = _gradients(box.node)
                found = grad(
                    [outputs[index] for index in given],
                    list(points.values()),
                    [g.detach() for g in given.values()],
                    allow_unused=True,
                )
        finally:
            self._paused = False
        flows = dict(zip(points, found, strict=True))
        for edge in edges:
            flow = flows.get(edge.position)
            edge.flow = None if flow is None else flow.to_host(copy=True)


def _origin(value: Value) -> Box:
    """Return the box of a value that no recorded operation made."""
    node = value.key[0]
    if node is not None and node.op is not None:
        return Box("op", f"{node.op.name} (not recorded)", [value], node)
    kind = "constant" if node is None else "leaf"
    return Box(kind, kind, [value], node)


def _gradients(node: Node | None) -> dict[int, Tensor]:
    return node.attached.grads if node is not None and node.attached is not None else {}


def _age(box: Box) -> int:
    return box.node.id if box.node is not None else 0


@contextmanager
def record() -> Iterator[Tape]:
    """Record the operations of a `with` block, for `tape.draw()` and `tape.steps()`.

    Backward may run inside or after the block.
    """
    tape = Tape()
    with observe(tape):
        yield tape


def draw(
    what: Tensor | Sequence[Tensor] | Tape,
    names: Mapping[str, Tensor] | None = None,
    *,
    step: int | None = None,
    limit: int = LIMIT,
) -> Drawing:
    """Return the picture of what led to a tensor, or to several: as `Tape.draw`, after the fact.

    The tape keeps only what the derivative rules need, so most values are not known any more.
    RuntimeError for a tensor that is not on the tape, or whose graph backward has freed.
    """
    if isinstance(what, Tape):
        return what.draw(names, step=step, limit=limit)
    if step is not None:
        raise ValueError("draw: only what viz.record() has seen can be drawn step by step")
    outputs: list[Any] = [what]
    if not isinstance(what, Tensor) and isinstance(what, Iterable):
        outputs = list(what)
    if not outputs or not all(isinstance(y, Tensor) for y in outputs):
        raise TypeError(f"draw: expected a Tensor, several, or a Tape, got {what!r}")
    named = _checked_names(names)
    boxes, left_out = newest(behind(outputs, named.values()), _checked_limit(limit))
    for box in boxes:
        for value in box.values:
            value.read()
    return Drawing(Scene(boxes, named, left_out))


def _checked_names(names: Mapping[str, Tensor] | None) -> Mapping[str, Tensor]:
    names = {} if names is None else names
    if not isinstance(names, Mapping) or not all(
        isinstance(name, str) and isinstance(x, Tensor) for name, x in names.items()
    ):
        raise TypeError(f"names must be a dict from names, strings, to tensors, got {names!r}")
    return names


def _checked_limit(limit: int) -> int:
    limit = _integer("limit", limit)
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    return limit


def _integer(name: str, value: Any) -> int:
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
