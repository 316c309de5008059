"""The engine: every array operation is `apply(op, args, params)`, which runs it, records it on the
tape and shows it to an observer; `backward` walks the tape and calls the ops' derivative rules.
"""

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import _GeneratorContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from heapq import heappop, heappush
from operator import attrgetter
from time import perf_counter
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from . import backends
from .arrays import SCALARS, to_array
from .backends import Array, Backend
from .docstrings import BelowAssignment
from .messages import EXPLAINED, ForeignOperand, described, explain, require_alike
from .methods import BINARY, OPS, UNARY, Methods
from .plans import Plan, Rule, parameters_of, runner, signature_of
from .promotion import as_weak, common_dtype
from .protocols import Protocols
from .watching import Call, Observer

_recording: ContextVar[bool] = ContextVar("minigrad_recording", default=True)
_observer: ContextVar[Observer | None] = ContextVar("minigrad_observer", default=None)
_observing = 0  # contexts that have an observer now; a global int is 20 ns cheaper than a get()
tick = itertools.count(1).__next__  # one clock: node ids and the stamps of writes

NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


@contextmanager
def _recording_is(on: bool) -> Iterator[None]:
    token = _recording.set(on)
    try:
        yield
    finally:
        _recording.reset(token)


def no_grad() -> _GeneratorContextManager[None]:
    """Record nothing on the tape inside the `with` block, or the decorated function."""
    return _recording_is(False)


def enable_grad() -> _GeneratorContextManager[None]:
    """Record on the tape again inside a `no_grad` block."""
    return _recording_is(True)


def is_grad_enabled() -> bool:
    """Return whether operations are recorded in this context."""
    return _recording.get()


@contextmanager
def observe(observer: Observer) -> Iterator[None]:
    """Show every operation of this context to `observer`."""
    global _observing
    token = _observer.set(observer)
    _observing += 1
    try:
        yield
    finally:
        _observing -= 1
        _observer.reset(token)


class Op:
    """One operation: how to compute it and how to differentiate it.

    forward(xp, *arrays, **params): the reference, written against a strict namespace. Positional
        parameters are array inputs (`*xs`: any number; `=None`: optional), keyword-only ones are
        hashable constants. Never returns an input object itself.
    vjp: input name -> rule, or a tuple of names -> one joint rule that returns as many cotangents.
        No rules at all: the result leaves the tape. A rule's signature says what the tape keeps:
        the cotangent `g` (`g_<output>` where there are several outputs; None where one was not
        used), an input, `<input>_shape`, `<input>_dtype`, an output, a param, the `position` in
        a variadic input, or, in a joint rule, `wanted`: the names that need a cotangent.
    outputs: names of the outputs; residuals are outputs that only rules use.
    writes: inputs that forward changes in place.
    again: how many of the first inputs the variadic one repeats, for runs of the op made at once.
    elementwise: inputs broadcast, so cotangents are summed back to the inputs' shapes.
    promotes: names of the inputs brought to one dtype; where elementwise, all unless given.
    floating: integer inputs become the default dtype first.
    view: the output may share the first input's memory.
    complex_rules: the rules hold for complex numbers: g · conj(f'), as PyTorch has it.
    syncs: the output's shape depends on values, so a device is waited for.
    target: the param that names the backend of the result, where that is not the inputs'.
    listed: whether the table and the operators know it by its name.
    """

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        vjp: Mapping[Any, Callable[..., Any]] = NO_PARAMS,
        *,
        outputs: tuple[str, ...] = ("out",),
        writes: tuple[str, ...] = (),
        again: int = 0,
        elementwise: bool = False,
        promotes: tuple[str, ...] | None = None,
        floating: bool = False,
        view: bool = False,
        complex_rules: bool = False,
        syncs: bool = False,
        target: str | None = None,
        listed: bool = True,
    ) -> None:
        self.name, self.forward, self.outputs, self.view = name, forward, outputs, view
        self.elementwise, self.floating = elementwise, floating
        self.complex_rules, self.syncs, self.target = complex_rules, syncs, target
        positional, self.variadic, self.params, defaults = parameters_of(forward)
        self.inputs = positional[1:]
        self.optional = len(defaults)
        if set(defaults) & set(self.params):
            raise TypeError(f"op {name!r}: params have no defaults, but {defaults} do")
        names = (*self.inputs, self.variadic) if self.variadic else self.inputs
        # Bit i stands for input i; the variadic input owns all bits from its own upwards.
        chosen = (names if elementwise else ()) if promotes is None else promotes
        self.promotes = 0
        for i, input_ in enumerate(names):
            if input_ in chosen:
                self.promotes |= -1 << i if input_ == self.variadic else 1 << i
        for given in (*writes, *chosen):
            if given not in names:
                raise TypeError(f"op {name!r}: {given!r} is no input")
        self.writes, self.again = tuple(self.inputs.index(given) for given in writes), again
        self.rules = tuple(
            Rule(self, key if joint else (key,), function, joint)
            for key, function in vjp.items()
            for joint in [isinstance(key, tuple)]
        )
        self.differentiable = bool(self.rules)
        self.plans: dict[Any, Plan] = {}
        # One output and nothing beside it: what `apply` handles without a second look.
        self.plain = len(outputs) == 1 and not (writes or view or syncs or target)
        self.swift = self.plain and not floating
        if listed:
            if name in TABLE:
                raise ValueError(f"op {name!r} is defined twice")
            TABLE[name] = self
            UNARY[name], BINARY[name] = partial(unary, self), partial(binary, self)

    @property
    def __signature__(self) -> inspect.Signature:
        """What `inspect` and editors show: inputs by place alone, then params by name."""
        return signature_of(self.forward)

    def __call__(self, *args: Any, **params: Any) -> "Tensor":
        missing = len(self.inputs) - len(args)
        if missing > self.optional or (missing < 0 and not self.variadic):
            expected = f"{', '.join(self.inputs)} ({self.optional} optional)"
            raise TypeError(f"{self.name}: expected {expected}, got {len(args)} arguments")
        args += (None,) * missing
        result: Tensor = apply(self, args, params)
        return result

    def written(self, count: int) -> tuple[int, ...]:
        """Return the positions among `count` inputs of those that forward changes."""
        starts = range(len(self.inputs), count, self.again) if self.again else ()
        return (*self.writes, *[start + i for start in starts for i in self.writes])

    def __repr__(self) -> str:
        return f"<op {self.name}>"


Op.__doc__ = BelowAssignment(Op.__doc__)  # type: ignore[assignment]

#: every op by name, in the order of definition
TABLE: dict[str, Op] = {}


class Attached:
    """What hangs on a node beside its op: gradients that are kept, hooks, and a leaf's dtype."""

    is_private = False  # made by a transform: nobody changes it in place, `x += 1` makes a new one

    def __init__(self, dtype: Any = None) -> None:
        self.dtype = dtype
        self.grads: dict[int, Tensor] = {}
        self.retained: set[int] = set()
        self.hooks: dict[int, dict[int, Callable[[Tensor], Tensor | None]]] = {}


class Node:
    """One recorded run of an op, or a leaf (op None). Edges go to the nodes of the wanted inputs.

    saved: the values the rules named, in the plan's order; None once freed.
    """

    # fmt: off
    __slots__ = ("__weakref__", "attached", "id", "indices", "op",
                 "params", "parents", "plan", "saved", "shapes")
    # fmt: on

    id: int
    op: Op | None
    plan: Plan
    params: Mapping[str, Any]
    parents: list["Node"]
    indices: list[int]
    saved: tuple[Any, ...] | None
    shapes: tuple[tuple[int, ...], ...]
    attached: Attached | None

    def __repr__(self) -> str:
        return f"<node {self.id}: {self.op.name if self.op else 'leaf'} {self.shapes}>"

    def watch(self) -> Attached:
        """Return what is attached to the node, making room for it first."""
        if self.attached is None:
            self.attached = Attached()
        return self.attached


def _leaf(tensor: "Tensor") -> Node:
    node = Node()
    node.id, node.op, node.parents, node.indices, node.saved = tick(), None, [], [], ()
    node.shapes, node.attached = (tensor._array.shape,), Attached(tensor._array.dtype)
    return node


# Why a tensor that has no node has none: the `index` of such a tensor.
CONSTANT, UNRECORDED, DETACHED, FLAT = 0, -1, -2, -3
_REASONS = {
    CONSTANT: "no input of the computation requires grad",
    UNRECORDED: "it was computed under no_grad()",
    DETACHED: "it was detached",
    FLAT: "the operation that made it has no derivative",
}


class Tensor(Protocols, Methods):
    """An array that remembers how it was computed.

    Tensor(data, dtype=None, requires_grad=False, backend=None) copies `data`: Python numbers and
    (nested) lists of them, NumPy arrays, tensors. Python floats become the default dtype, ints
    int64, bools bool; arrays keep theirs. TypeError for what is no number or a dtype that cannot
    require grad; ValueError for ragged lists.
    """

    # _array: the raw array. _writes: [time of the last write to this memory], shared by views and
    # made when first needed.
    __slots__ = ("__weakref__", "_array", "_frozen", "_writes", "backend", "index", "node")

    _array: Array
    _writes: list[int] | None
    _frozen: Node | None
    backend: Backend
    node: Node | None
    index: int

    def __init__(
        self,
        data: Any,
        dtype: Any = None,
        requires_grad: bool = False,
        backend: str | Backend | None = None,
    ) -> None:
        if isinstance(data, Tensor):
            backend, data = backend or data.backend, data._array
        self._array, self.backend = to_array(data, dtype, backend, copy=True)
        self._writes, self.node, self.index = None, None, CONSTANT
        self.requires_grad = requires_grad

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        shape: tuple[int, ...] = self._array.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        dtype: np.dtype[Any] = self._array.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._array.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self._array.size)

    @property
    def device(self) -> str:
        """Where the memory is: "cpu" or "cuda:0"."""
        return self.backend.device

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user, not by a recorded operation."""
        return self.node is None or self.node.op is None

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor; can be set on leaves of a floating dtype."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if bool(value) == self.requires_grad:
            return
        if not value:
            if not self.is_leaf:
                raise RuntimeError(
                    "requires_grad can be switched off on leaves only; detach() gives a constant "
                    f"copy of this result of {self.node.op.name!r}"  # type: ignore[union-attr]
                )
            self._frozen, self.node, self.index = self.node, None, CONSTANT
        elif self.dtype.kind != "f":
            raise TypeError(f"only floating tensors can require grad, not {self.dtype}")
        else:
            # The node it had before, for the graphs that hold it: a frozen leaf thaws.
            self.node, self.index = getattr(self, "_frozen", None) or _leaf(self), 0

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def grad(self) -> "Tensor | None":
        """The accumulated gradient of a leaf, or of a tensor that asked by `retain_grad()`."""
        if self.node is None or self.node.attached is None:
            return None
        return self.node.attached.grads.get(self.index)

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if value is None:
            if self.node is not None and self.node.attached is not None:
                self.node.attached.grads.pop(self.index, None)
            return
        node = self._tracked_node("grad can be set only on a tensor that requires grad")
        if not isinstance(value, Tensor):
            raise TypeError(f"grad must be a Tensor or None, not {type(value).__name__}")
        require_alike("grad", value, self)
        node.watch().grads[self.index] = value.detach()

    @property
    def data(self) -> "Tensor":
        """A detached tensor on the same memory; writes to it are noticed by the tape."""
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        new = value if isinstance(value, Tensor) else Tensor(value, self.dtype, False, self.backend)
        if new._array is self._array:  # p.data *= 2 has written there already
            return
        require_alike("data", new, self, devices=False)
        self._array, self.backend, self._writes = new._array, new.backend, new._write_record()
        self._written()

    def detach(self) -> "Tensor":
        """Return a tensor on the same memory that is not on the tape."""
        alias = wrap(self._array, self.backend)
        alias._writes, alias.index = self._write_record(), DETACHED
        return alias

    def _write_record(self) -> list[int]:
        """Return the record of the last write to this memory, which views share."""
        if self._writes is None:
            self._writes = [0]
        return self._writes

    def _written(self) -> None:
        """Note that this memory has changed."""
        (self._writes or self._write_record())[0] = tick()

    def _tracked_node(self, wanted_for: str) -> Node:
        """Return the tensor's node; without one, RuntimeError says why there is none."""
        if self.node is None:
            raise RuntimeError(f"{wanted_for}: not on the tape: {_REASONS[self.index]}")
        return self.node

    def retain_grad(self) -> None:
        """Keep `.grad` for this result of an operation as if it were a leaf."""
        self._tracked_node("retain_grad").watch().retained.add(self.index)

    def register_hook(self, hook: Callable[["Tensor"], "Tensor | None"]) -> "HookHandle":
        """Call `hook(gradient)` once the gradient is known; a Tensor that it returns replaces it.

        Returns a handle with `remove()`. RuntimeError for a tensor that is not on the tape.
        """
        hooks = self._tracked_node("register_hook").watch().hooks.setdefault(self.index, {})
        key = tick()
        hooks[key] = hook
        return HookHandle(hooks, key)

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf), times `gradient`, to the `.grad` of every leaf below.

        gradient: like self; 1 where self has one element. RuntimeError where there is nothing to
        differentiate or the graph was freed by an earlier call without retain_graph.
        """
        backward([root(self, gradient)], retain_graph=retain_graph)

    def to_host(self, copy: bool = False) -> np.ndarray[Any, Any]:
        """Return the values as a NumPy array: the one place where anything leaves the device.

        A read-only view where host and device are one, unless `copy`. The tape is not asked.
        """
        if _observing and (observer := _observer.get()) is not None:
            observer.read(self)
        array: np.ndarray[Any, Any] = self.backend.to_numpy(self._array)
        if copy:
            return array.copy()
        array = array.view()
        array.flags.writeable = False
        return array

    def _in_place(self, name: str, other: Any) -> "Tensor":
        """`self op= other`: in place, except that while recording a tracked result is a new tensor.

        RuntimeError on a leaf that requires grad while recording; TypeError where the result does
        not fit the dtype, ValueError where it does not fit the shape.
        """
        if _recording.get():
            if self.node is not None and self.node.op is None and not self.node.watch().is_private:
                raise RuntimeError(
                    f"in-place {name}: a leaf that requires grad cannot be changed in place while "
                    "recording; do it under no_grad(), or write x = x + v for a new tensor"
                )
            if self.node is not None or (isinstance(other, Tensor) and other.node is not None):
                return OPS[name](self, other)
        with no_grad():
            result = OPS[name](self, other)
        if result.shape != self.shape:
            raise ValueError(
                f"in-place {name}: the result's shape {result.shape} is not the shape {self.shape} "
                "of the tensor that is changed in place"
            )
        OPS["assign"](self, result)
        return self


class HookHandle:
    """What `register_hook` returns."""

    def __init__(self, hooks: dict[int, Any], key: int) -> None:
        self._hooks, self._key = hooks, key

    def remove(self) -> None:
        """Take the hook away again; a second call does nothing."""
        self._hooks.pop(self._key, None)


_new = Tensor.__new__
_new_node = Node.__new__


def wrap(array: Array, backend: Backend) -> Tensor:
    """Return a constant tensor on the memory of `array`, which must be one of the backend's."""
    tensor = _new(Tensor)
    tensor._array, tensor.backend = array, backend
    tensor._writes, tensor.node, tensor.index = None, None, CONSTANT
    return tensor


_RAW = SCALARS | {type(None)}


def apply(
    op: Op,
    args: Sequence[Any],
    params: Mapping[str, Any] = NO_PARAMS,
    backend: Backend | None = None,
) -> Any:
    """Run `op` on tensors, Python numbers and None, and record it. Everything goes through here.

    Returns a Tensor, a tuple of them where the op has several outputs, or None where it has none.
    backend: where a result without tensor inputs lives.
    """
    started = perf_counter() if _observing else 0.0
    arrays = []
    dtype: Any = None
    uneven = inexact = tracked = False
    for arg in args:
        if type(arg) is Tensor or isinstance(arg, Tensor):
            array = arg._array
            arrays.append(array)
            if arg.backend is not backend:
                backend = arg.backend if backend is None else backends.common(backend, arg.backend)
            if arg.node is not None:
                tracked = True
            if array.dtype is not dtype:
                uneven, dtype = uneven or dtype is not None, array.dtype
        elif type(arg) in _RAW:
            arrays.append(arg)
            if type(arg) is float:
                inexact = True
            elif type(arg) is complex:
                uneven = True
            elif arg is None and op.elementwise and len(arrays) <= len(op.inputs) - op.optional:
                raise ForeignOperand(
                    f"{op.name}: expected tensors, arrays or numbers, got NoneType"
                )
        else:
            return apply(op, [_operand(op, a, backend) for a in args], params, backend)
    if backend is None:
        if args and all(a is None for a in args):
            raise TypeError(f"{op.name}: expected tensors, arrays or numbers, got None")
        args = [a if a is None else Tensor(a) for a in args]
        return apply(op, args, params, backends.default())
    if op.promotes and (uneven or ((inexact or op.floating) and dtype.kind not in "fc")):
        promoted = _promoted(op, args)
        if promoted is not None:
            return apply(op, promoted, params, backend)

    if op.writes and tracked and _recording.get():
        raise _refused_write(op, args)
    run = backend.runs.get(op) or _resolve(op, backend)
    try:
        out = run(backend.xp, *arrays, **params) if params else run(backend.xp, *arrays)
    except EXPLAINED as error:
        explain(error, op, args)

    if op.plain:
        tensor = _finish(op, args, params, out, backend, tracked)
        if _observing:
            _show(op, args, params, (tensor,), started)
        return tensor

    if op.target is not None:
        backend = backends.get(params[op.target])
    outputs = _wrap_outputs(op, args, out, backend) if op.outputs else ()
    if tracked and op.differentiable and _recording.get():
        record(op, args, params, outputs)
    elif tracked:
        for tensor in outputs:
            tensor.index = UNRECORDED if op.differentiable else FLAT
    for i in op.written(len(args)) if op.again else op.writes:
        if args[i] is not None:
            args[i]._written()
    if _observing:
        _show(op, args, params, outputs, started)
    return (outputs or None) if len(outputs) != 1 else outputs[0]


def binary(op: Op, x: Any, y: Any) -> Tensor:
    """Return `apply(op, (x, y))` for Python's operators.

    Two tensors of one backend and dtype, or a float tensor and a number, need little of what
    `apply` looks at: this takes 0.6 of its time.
    """
    backend = None
    if type(x) is Tensor:
        a, b = x._array, y
        if type(y) is Tensor:
            b = y._array
            if x.backend is y.backend and a.dtype is b.dtype:
                backend = x.backend
        elif (type(y) is float or type(y) is int) and a.dtype.kind == "f":
            backend = x.backend
    elif (type(x) is float or type(x) is int) and type(y) is Tensor:
        a, b = x, y._array
        if b.dtype.kind == "f":
            backend = y.backend
    if backend is None or _observing or not op.swift or (run := backend.runs.get(op)) is None:
        result: Tensor = apply(op, (x, y))
        return result
    try:
        out = run(backend.xp, a, b)
    except EXPLAINED as error:
        explain(error, op, (x, y))
    tracked = (a is not x and x.node is not None) or (b is not y and y.node is not None)
    return _finish(op, (x, y), NO_PARAMS, out, backend, tracked)


def unary(op: Op, x: Any) -> Tensor:
    """Return `apply(op, (x,))` for methods of one float tensor; as `binary`, a short way."""
    if type(x) is Tensor and not _observing and op.plain and x._array.dtype.kind == "f":
        backend = x.backend
        if (run := backend.runs.get(op)) is not None:
            try:
                out = run(backend.xp, x._array)
            except EXPLAINED as error:
                explain(error, op, (x,))
            return _finish(op, (x,), NO_PARAMS, out, backend, x.node is not None)
    result: Tensor = apply(op, (x,))
    return result


def _finish(
    op: Op,
    args: Sequence[Any],
    params: Mapping[str, Any],
    out: Array,
    backend: Backend,
    tracked: bool,
) -> Tensor:
    """Wrap the only output of an op and record the run where it is tracked."""
    if type(out) is not backend.array_type:  # NumPy's reductions give scalars
        out = backend.from_numpy(out)
    tensor = _new(Tensor)
    tensor._array, tensor.backend, tensor._writes, tensor.node = out, backend, None, None
    tensor.index = CONSTANT
    if tracked:
        if op.differentiable and _recording.get():
            record(op, args, params, (tensor,))
        else:
            tensor.index = UNRECORDED if op.differentiable else FLAT
    return tensor


def _wrap_outputs(op: Op, args: Sequence[Any], out: Any, backend: Backend) -> tuple[Tensor, ...]:
    arrays = (out,) if len(op.outputs) == 1 else out
    is_array, asarray = backend.array_type, backend.xp.asarray
    outputs = tuple([wrap(a if type(a) is is_array else asarray(a), backend) for a in arrays])
    here = op.view and args[0].device == backend.device
    if here and backend.xp.may_share_memory(outputs[0]._array, args[0]._array):
        outputs[0]._writes = args[0]._write_record()
    return outputs


def record(
    op: Op, args: Sequence[Any], params: Mapping[str, Any], outputs: tuple[Tensor, ...]
) -> None:
    """Put a run on the tape: a node that keeps what the rules of the wanted inputs name."""
    parents, indices, wanted, bit = [], [], 0, 1
    only_real = not op.complex_rules
    for arg in args:
        if type(arg) not in _RAW:
            parent = arg.node
            if parent is not None:
                if only_real and arg._array.dtype.kind == "c":
                    raise TypeError(
                        f"{op.name}: no derivative for complex inputs, got {described(op, args)}; "
                        "take real(), imag() or abs() first, or detach() the input"
                    )
                parents.append(parent)
                indices.append(arg.index)
                wanted |= bit
        bit += bit
    key = wanted if op.variadic is None else (wanted, len(args))
    plan = op.plans.get(key) or op.plans.setdefault(key, Plan(op, wanted, len(args)))
    node = _new_node(Node)
    node.op, node.plan, node.params, node.attached = op, plan, params, None
    node.parents, node.indices = parents, indices
    node.saved = plan.pick(args)
    if plan.more:
        node.saved += _kept(plan, args, outputs)
    if len(outputs) == 1:
        tensor = outputs[0]
        node.shapes = (tensor._array.shape,)
        tensor.node, tensor.index = node, 0
    else:
        node.shapes = tuple([t._array.shape for t in outputs])
        for index, tensor in enumerate(outputs):
            if tensor._array.dtype.kind in "fc":
                tensor.node, tensor.index = node, index
    node.id = tick()


def _kept(plan: Plan, args: Sequence[Any], outputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """Return what a plan keeps beside inputs: outputs, and shapes and dtypes of inputs."""
    kept: list[Any] = []
    for i in plan.outputs:
        # A twin without a node: the tape holds the value, not the tensor, so there is no cycle.
        output, twin = outputs[i], _new(Tensor)
        twin._array, twin.backend, twin.node, twin.index = output._array, output.backend, None, i
        twin._writes = output._writes = output._writes or [0]
        kept.append(twin)
    for i, what in plan.about:
        arg = args[i]
        kept.append(None if type(arg) in _RAW else getattr(arg._array, what))
    return tuple(kept)


def _resolve(op: Op, backend: Backend) -> Callable[..., Any]:
    """Return what computes `op` on `backend`: its kernel, or the reference where there is none."""
    backend.runs[op] = run = runner(op.forward, backend.kernels.get(op.name))
    return run


def _operand(op: Op, value: Any, backend: Backend | None) -> Any:
    """Return value as `apply` takes it: NumPy scalars weak as Python's, arrays as constants."""
    if isinstance(value, Tensor) or type(value) in _RAW:
        return value
    if type(value) is not np.ndarray and (weak := as_weak(value)) is not None:
        return weak
    if not isinstance(value, np.ndarray) and backends.of_device_array(value) is None:
        raise ForeignOperand(
            f"{op.name}: expected tensors, arrays or numbers, got {type(value).__name__}"
        )
    return wrap(*to_array(value, None, None, copy=True))  # the tape may keep it


def _promoted(op: Op, args: Sequence[Any]) -> list[Any] | None:
    """Bring the inputs that promote to one dtype, by casts that are on the tape as well.

    None where there is nothing to do.
    """
    chosen = [i for i in range(len(args)) if op.promotes >> i & 1 and args[i] is not None]
    dtypes = [args[i].dtype for i in chosen if isinstance(args[i], Tensor)]
    weak = {type(args[i]) for i in chosen} & SCALARS
    if not dtypes:  # numbers alone: where(mask, 1.0, 0.0)
        inexact = weak & {float, complex}
        return [Tensor(a) if i in chosen and inexact else a for i, a in enumerate(args)]
    dtype = common_dtype(dtypes, weak, op.floating)
    if all(d == dtype for d in dtypes):
        return None
    cast = TABLE["astype"]
    return [
        apply(cast, (a,), {"dtype": dtype})
        if i in chosen and isinstance(a, Tensor) and a.dtype != dtype
        else a
        for i, a in enumerate(args)
    ]


def _refused_write(op: Op, args: Sequence[Any]) -> RuntimeError:
    return RuntimeError(
        f"{op.name} changes a tensor in place, but {described(op, args)} take part in "
        "differentiation while recording; do it under no_grad(), or use the functional form "
        "(x.at[i].set(v), x.at[i].add(v), x + v)"
    )


def _show(
    op: Op,
    args: Sequence[Any],
    params: Mapping[str, Any],
    outputs: tuple[Tensor, ...],
    started: float,
) -> None:
    if (observer := _observer.get()) is None:
        return
    if op.syncs or (op.target and outputs[0].device == "cpu" != args[0].device):
        observer.read(args[0])
    if observer.synchronizes and outputs:
        outputs[0].backend.synchronize()
    observer.ran(Call(op, args, params, outputs, perf_counter() - started))


def root(tensor: Tensor, gradient: Any) -> tuple[Node, int, Tensor]:
    """Return where backward starts and the cotangent there, checked."""
    node = tensor._tracked_node("there is nothing to differentiate")
    if gradient is None:
        if tensor.dtype.kind == "c":
            raise RuntimeError(
                f"without a gradient, backward starts from a real number, not {tensor.dtype}: "
                "take real(), imag() or abs(), or pass a gradient"
            )
        if tensor.size != 1:
            raise RuntimeError(
                "without a gradient, backward starts from one number only; got shape "
                f"{tensor.shape}: reduce it with sum() or mean(), or pass a gradient"
            )
        return node, tensor.index, OPS["ones_like"](tensor)
    elif not isinstance(gradient, Tensor):
        gradient = Tensor(gradient, tensor.dtype, backend=tensor.backend)
    require_alike("the gradient given to backward", gradient, tensor)
    return node, tensor.index, gradient


def backward(
    roots: Sequence[tuple[Node, int, Tensor]],
    targets: Sequence[Tensor] | None = None,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
    stop: bool = False,
) -> list[Tensor | None]:
    """Propagate cotangents from the roots to the leaves, or to `targets` alone.

    Without targets, the gradients are added to the leaves' `.grad`. With targets, they are
    returned in their order, None for a target that was not reached. create_graph: record the
    derivatives, so that they can be differentiated again; otherwise the gradients share no memory.
    stop: go no further than the targets, even where one leads to another.
    """
    sweep = _Sweep(roots, targets, create_graph, stop)
    token = _recording.set(create_graph)
    try:
        with np.errstate(all="ignore"):
            sweep.run(retain_graph)
    finally:
        _recording.reset(token)
        if _observing and (observer := _observer.get()) is not None:
            observer.entered(None)
    found = [sweep.found[t.node][t.index] if t.node else None for t in targets or ()]
    return found if create_graph else [g if g is None else sweep.owned(g) for g in found]


class _Sweep:
    """One run of backward: the cotangents on their way and the nodes they wait at.

    Newest first is a topological order: when a node comes, all its consumers have been.
    """

    def __init__(
        self,
        roots: Sequence[tuple[Node, int, Tensor]],
        targets: Sequence[Tensor] | None,
        create_graph: bool,
        stop: bool,
    ) -> None:
        self.create_graph, self.stop = create_graph, stop
        self.queue: list[tuple[int, Node]] = []
        self.cotangents: dict[Node, list[Tensor | None]] = {}
        self.found: dict[Node | None, list[Tensor | None]] = {}
        self.needed: set[Node] | None = None
        if targets is not None:
            self.found = {t.node: [None] * len(t.node.shapes) for t in targets if t.node}
            self.needed = _leading_to({node for node in self.found if node}, roots)
        # Arrays that someone else holds: a leaf's .grad must not be one of them.
        self.shared = {id(g._array) for _, _, g in roots}
        for node, index, g in roots:
            if self.needed is None or node in self.needed:
                self.add(node, index, g)

    def run(self, retain_graph: bool) -> None:
        while self.queue:
            node = heappop(self.queue)[1]
            gs = self.cotangents.pop(node)
            if self.stop and node in self.found:
                self.found[node] = gs
                continue
            if node.attached is not None:
                if node.attached.hooks:
                    self.call_hooks(node.attached, gs)
                if self.needed is None:
                    self.keep_grads(node, node.attached, gs)
            if node in self.found:
                self.found[node] = gs
            if node.op is not None and (
                self.needed is None or node.saved is None or self.needed & {*node.parents}
            ):
                self.call_rules(node, node.op, gs)
                if not retain_graph:
                    node.saved, node.parents = None, []

    def add(self, node: Node, index: int, g: Tensor) -> None:
        """Add g to what waits at an output of a node."""
        gs = self.cotangents.get(node)
        if gs is None:
            heappush(self.queue, (-node.id, node))
            if index == 0 and len(node.shapes) == 1:
                self.cotangents[node] = [g]
                return
            gs = self.cotangents[node] = [None] * len(node.shapes)
        held = gs[index]
        gs[index] = g if held is None else binary(TABLE["add"], held, g)

    def call_hooks(self, attached: Attached, gs: list[Tensor | None]) -> None:
        for index, hooks in attached.hooks.items():
            for hook in list(hooks.values()):
                g = gs[index]
                replaced = None if g is None else hook(g)
                if g is not None and replaced is not None:
                    require_alike("the gradient returned by a hook", replaced, g)
                    gs[index] = replaced
            if (g := gs[index]) is not None:
                self.shared.add(id(g._array))  # the hook may have kept it

    def keep_grads(self, node: Node, attached: Attached, gs: list[Tensor | None]) -> None:
        """Add the cotangents of a leaf, or of results that asked, to their `.grad`."""
        for index in (0,) if node.op is None else attached.retained:
            g = gs[index]
            if g is None:
                continue
            array = g._array
            if attached.dtype is not None and array.dtype != attached.dtype:
                raise RuntimeError(
                    f"a derivative rule gave {g.dtype} for a {attached.dtype} input of {g.shape}"
                )
            held = attached.grads.get(index)
            attached.grads[index] = self.owned(
                g if held is None else binary(TABLE["add"], held, g.detach())
            )

    def owned(self, g: Tensor) -> Tensor:
        """Return g, copied where anything else holds or may hold its memory."""
        array = g._array
        if array.base is not None or id(array) in self.shared or not array.flags.c_contiguous:
            g = TABLE["copy"](g.detach())
        self.shared.add(id(g._array))
        return g

    def call_rules(self, node: Node, op: Op, gs: list[Tensor | None]) -> None:
        """Call the derivative rules of one node and hand their results to its parents."""
        plan, saved, parents, needed = node.plan, node.saved, node.parents, self.needed
        if saved is None:
            raise RuntimeError(
                f"backward through the same graph a second time: what {op.name} had saved is "
                "freed; pass retain_graph=True the first time"
            )
        if _observing and (observer := _observer.get()) is not None:
            observer.entered(node)
        kept = saved[: plan.tensors]
        for value in kept:
            writes = None if type(value) in _RAW else value._writes
            if writes is not None and writes[0] > node.id:
                raise RuntimeError(
                    f"{op.name}: a value of shape {value.shape} that its derivative needs was "
                    "changed in place after it was used; change a copy, or after backward"
                )
        if self.create_graph and plan.outputs:
            saved = _on_tape(node, saved)
        values = [*gs, *saved, *map(node.params.get, op.params), None, None]
        for rule, into, arguments, extra in plan.calls:
            if needed is not None:
                into = tuple([k if k is None or parents[k] in needed else None for k in into])
                if rule.joint:
                    extra = tuple(n for n, k in zip(rule.names, into, strict=True) if k is not None)
                if all(k is None for k in into):
                    continue
            values[-2] = extra
            results = rule.function(*arguments(values))
            for k, g in zip(into, results, strict=True) if rule.joint else ((into[0], results),):
                if g is None or k is None:
                    continue
                parent, index = parents[k], node.indices[k]
                if g._array.shape != parent.shapes[index]:
                    g = _unbroadcast(op, rule, g, parent.shapes[index])
                if parent.attached is not None and id(g) in map(id, kept):
                    self.shared.add(id(g._array))
                self.add(parent, index, g)


def _leading_to(targets: set[Node], roots: Sequence[tuple[Node, int, Tensor]]) -> set[Node]:
    """Return the nodes below the roots from which a target can be reached."""
    oldest = min((node.id for node in targets), default=0)  # what is older leads to none of them
    stack = [node for node, _, _ in roots]
    seen = set(stack)
    while stack:
        for parent in stack.pop().parents:
            if parent not in seen and parent.id >= oldest:
                seen.add(parent)
                stack.append(parent)
    needed = targets | {node for node in seen if node.saved is None}  # freed: let the sweep say so
    for node in sorted(seen, key=attrgetter("id")):
        if any(parent in needed for parent in node.parents):
            needed.add(node)
    return needed


def _on_tape(node: Node, saved: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the saved values with the outputs among them as what they are on the tape."""
    first = node.plan.kept
    restored = list(saved)
    for at, index in enumerate(node.plan.outputs, first):
        twin = saved[at]
        restored[at] = tensor = wrap(twin._array, twin.backend)
        tensor._writes, tensor.node, tensor.index = twin._writes, node, index
    return tuple(restored)


def _unbroadcast(op: Op, rule: Rule, g: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum g over the axes along which an input of `shape` was broadcast."""
    fits = len(g.shape) >= len(shape) and all(
        n in (1, m) for n, m in zip(reversed(shape), reversed(g.shape), strict=False)
    )
    if not (op.elementwise and fits):
        raise RuntimeError(
            f"{op.name}: the derivative rule for {', '.join(rule.names)} returned shape {g.shape} "
            f"for an input of shape {shape}"
        )
    summed: Tensor = apply(TABLE["sum_to"], (g,), {"shape": shape})
    return summed
