"""Adagrad."""

from collections.abc import Iterable
from typing import Any

from ..engine import Tensor
from ..ops.updates import adagrad_update, assign
from .optimizer import Optimizer, ParamGroup


class Adagrad(Optimizer):
    """p -= lr / (1 + t · lr_decay) · g / (sqrt(sum) + eps), sum that of all g² and t steps done.

    The sum begins with initial_accumulator_value. weight_decay adds weight_decay · p to g, l1 adds
    l1 · sign(p). Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization" (2011), in PyTorch's form.
    """

    _kept = ("sum",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        l1: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "l1": l1,
        }
        super().__init__(params, defaults)

    def _state_for(self, p: Tensor, group: ParamGroup) -> Iterable[Tensor | None]:
        is_first = p not in self.state
        state = self._state_of(p, self._kept)
        if is_first:
            assign(state["sum"], group.tensors["initial_accumulator_value"])
        return state["sum"], state["step"]

    def _update(self, first: tuple[Any, ...], group: ParamGroup, more: list[Any]) -> None:
        scalars = group.tensors
        adagrad_update(
            *first,
            scalars["lr"],
            scalars["lr_decay"],
            scalars["eps"],
            group.unless_zero("weight_decay"),
            group.unless_zero("l1"),
            *more,
        )
