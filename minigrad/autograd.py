"""Gradients as values: `grad` returns them instead of adding them to the leaves."""

from collections.abc import Sequence
from typing import Any

from .engine import Tensor, backward, root

__all__ = ["grad"]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    create_graph: bool = False,
    *,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the sum of outputs, weighted by grad_outputs, for each input.

    grad_outputs: one like each output; 1 for outputs of one element. create_graph: record the
    derivatives, to differentiate them again. retain_graph: keep the graph for another call;
    create_graph unless given. The leaves' `.grad` is left alone. RuntimeError for an input that
    is not on the tape or was not used, for which allow_unused gives None instead.
    """
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if grad_outputs is None or not isinstance(grad_outputs, Sequence):
        grad_outputs = (grad_outputs,) * len(outputs)
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"grad: {len(outputs)} outputs, but {len(grad_outputs)} grad_outputs")
    for position, x in enumerate(inputs):
        if not allow_unused:
            x._tracked_node(f"grad: input {position} does not require grad")
    gradients = backward(
        [root(y, g) for y, g in zip(outputs, grad_outputs, strict=True)],
        inputs,
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
    )
    for position, g in enumerate(gradients):
        if g is None and not allow_unused:
            raise RuntimeError(
                f"grad: input {position} was not used in the outputs; "
                "allow_unused=True gives None for it"
            )
    return tuple(gradients)
