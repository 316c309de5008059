"""Adam and AdamW."""

from collections.abc import Iterable
from typing import Any

from ..engine import Tensor
from ..ops.updates import adam_update
from .optimizer import Optimizer, ParamGroup


class Adam(Optimizer):
    """p -= lr · m / (sqrt(v) + eps), m and v the unbiased running means of g and g².

    betas: what m and v keep of themselves at each step. weight_decay adds weight_decay · p to g,
    l1 adds l1 · sign(p). Kingma & Ba, "Adam: a method for stochastic optimization" (2015),
    algorithm 1.
    """

    _kept = ("exp_avg", "exp_avg_sq")
    _decoupled = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        l1: float = 0.0,
    ) -> None:
        if len(betas) != 2:
            raise ValueError(f"{type(self).__name__}: betas are two numbers, got {betas}")
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "l1": l1,
        }
        super().__init__(params, defaults)

    def _state_for(self, p: Tensor, group: ParamGroup) -> Iterable[Tensor | None]:
        state = self._state_of(p, self._kept)
        return state["exp_avg"], state["exp_avg_sq"], state["step"]

    def _update(self, first: tuple[Any, ...], group: ParamGroup, more: list[Any]) -> None:
        scalars = group.tensors
        adam_update(
            *first,
            scalars["lr"],
            *scalars["betas"],
            scalars["eps"],
            group.unless_zero("weight_decay"),
            group.unless_zero("l1"),
            *more,
            decoupled=self._decoupled,
        )


class AdamW(Adam):
    """Adam whose weight decay shrinks p by lr · weight_decay instead of adding to g.

    l1 still adds l1 · sign(p) to g. Loshchilov & Hutter, "Decoupled weight decay regularization"
    (2019), algorithm 2.
    """

    _decoupled = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        l1: float = 0.0,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, l1)
