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
