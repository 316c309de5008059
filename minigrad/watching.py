"""What an observer of the engine is, and what it is shown."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from .engine import Node, Op, Tensor


class Observer(Protocol):
    """What sees each operation: anomaly detection, profiling, drawing. One per context."""

    synchronizes: bool  # wait for the device before an operation's time is taken

    def ran(self, call: "Call") -> None:
        """An operation has run."""

    def entered(self, node: "Node | None") -> None:
        """`backward` is about to call the rules of `node`; None: it is over."""

    def read(self, tensor: "Tensor") -> None:
        """A value is about to travel from the device to the host."""


class Call(NamedTuple):
    """One run of an op as an observer sees it; `seconds` includes recording it."""

    op: "Op"
    args: Sequence[Any]
    params: Mapping[str, Any]
    outputs: "tuple[Tensor, ...]"
    seconds: float


def key_of(tensor: "Tensor") -> "tuple[Node | None, int, int]":
    """Return what identifies a value: (node, output index, time of the last write to its memory).

    Off the tape it is (None, id, time). A leaf that was frozen keeps its identity.
    """
    node = tensor.node or getattr(tensor, "_frozen", None)
    written = tensor._writes[0] if tensor._writes else 0
    if node is None:
        return None, id(tensor), written
    return node, tensor.index if tensor.node else 0, written
