"""Stochastic gradient descent."""

from collections.abc import Iterable
from typing import Any

from ..engine import Tensor
from ..ops.updates import sgd_update
from .optimizer import Optimizer, ParamGroup


class SGD(Optimizer):
    """p -= lr · g, or with momentum p -= lr · velocity.

    velocity = momentum · velocity + (1 - dampening) · g, the first one g itself; nesterov: the step
    is along g + momentum · velocity. weight_decay adds weight_decay · p to g, l1 adds l1 · sign(p).
    Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), in
    PyTorch's form.
    """

    _kept = ("momentum_buffer",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        l1: float = 0.0,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                "SGD: nesterov needs momentum > 0 and dampening 0, "
                f"got momentum {momentum} and dampening {dampening}"
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": bool(nesterov),
            "l1": l1,
        }
        super().__init__(params, defaults)

    def _state_for(self, p: Tensor, group: ParamGroup) -> Iterable[Tensor | None]:
        if not group["momentum"]:
            return None, None
        state = self._state_of(p, self._kept)
        return state["momentum_buffer"], state["step"]

    def _update(self, first: tuple[Any, ...], group: ParamGroup, more: list[Any]) -> None:
        scalars = group.tensors
        sgd_update(
            *first,
            scalars["lr"],
            scalars["momentum"],
            scalars["dampening"],
            group.unless_zero("weight_decay"),
            group.unless_zero("l1"),
            *more,
            nesterov=group["nesterov"],
        )
