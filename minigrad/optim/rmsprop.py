"""RMSprop."""

from collections.abc import Iterable
from typing import Any

from ..engine import Tensor
from ..ops.updates import rmsprop_update
from .optimizer import Optimizer, ParamGroup


class RMSprop(Optimizer):
    """p -= lr · g / (sqrt(v) + eps), v the running mean of g², which keeps alpha of itself.

    centered: v less the square of the running mean of g. momentum: p -= lr · velocity, velocity =
    momentum · velocity + the quotient above. weight_decay adds weight_decay · p to g, l1 adds
    l1 · sign(p). Tieleman & Hinton, "Neural networks for machine learning" (2012), lecture 6.5, in
    PyTorch's form.
    """

    _kept = ("square_avg",)
    _kept_if_asked = ("grad_avg", "momentum_buffer")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        l1: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": bool(centered),
            "weight_decay": weight_decay,
            "l1": l1,
        }
        super().__init__(params, defaults)

    def _state_for(self, p: Tensor, group: ParamGroup) -> Iterable[Tensor | None]:
        names: tuple[str, ...] = self._kept
        if group["centered"]:
            names += ("grad_avg",)
        if group["momentum"]:
            names += ("momentum_buffer",)
        state = self._state_of(p, names)
        return (
            state["square_avg"],
            state["grad_avg"] if group["centered"] else None,
            state["momentum_buffer"] if group["momentum"] else None,
            state["step"],
        )

    def _update(self, first: tuple[Any, ...], group: ParamGroup, more: list[Any]) -> None:
        scalars = group.tensors
        rmsprop_update(
            *first,
            scalars["lr"],
            scalars["alpha"],
            scalars["eps"],
            group.unless_zero("weight_decay"),
            scalars["momentum"],
            group.unless_zero("l1"),
            *more,
        )
