"""Calling a module as a function of its parameters."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from ..custom import surroundings
from ..engine import Tensor
from ..messages import did_you_mean
from .module import Module, Parameter


def functional_call(
    module: Module, params: Mapping[str, Tensor], /, *args: Any, **kwargs: Any
) -> Any:
    """Return module(*args, **kwargs) with other tensors in place of its parameters and buffers.

    params: dotted names -> tensors of the same shapes, results of operations too; derivatives flow
    to them. What it does not name stays. A shared parameter is replaced wherever it is used, under
    any of its names. Afterwards the module is as before, also after an error. During the call other
    threads see the replacements: use a copy of the module in each thread. ValueError for unknown
    names and other shapes.
    """
    if not isinstance(params, Mapping):
        raise TypeError(
            f"functional_call: expected names and tensors, got {type(params).__name__}; the "
            "module's own are dict(module.named_parameters())"
        )
    places = list(module._places())
    new = _replacements(module, {path: tensor for path, _, _, tensor in places}, params)
    swaps = [
        (vars(owner), name, new[id(tensor)])
        for _, owner, name, tensor in places
        if id(tensor) in new
    ]
    with _swapped(swaps):
        return module(*args, **kwargs)


@contextmanager
def _swapped(swaps: Sequence[tuple[dict[str, Any], str, Tensor]]) -> Iterator[None]:
    """Let attributes have other values for a while, and in what is recomputed for it later."""
    before = [attributes[name] for attributes, name, _ in swaps]
    token = surroundings.set((*surroundings.get(), partial(_swapped, swaps)))
    try:
        for attributes, name, tensor in swaps:
            attributes[name] = tensor
        yield
    finally:
        surroundings.reset(token)
        for (attributes, name, _), tensor in zip(swaps, before, strict=True):
            attributes[name] = tensor


def _replacements(
    module: Module, own: Mapping[str, Tensor], params: Mapping[str, Tensor]
) -> dict[int, Tensor]:
    """Return what replaces each tensor, by the id of the one it replaces, checked."""
    new: dict[int, Tensor] = {}
    kind = type(module).__name__
    for name, tensor in params.items():
        if name not in own:
            module._require_sizes()  # a lazy layer has no names yet
            hint = did_you_mean(str(name), own)
            raise ValueError(f"functional_call: {kind} has no parameter or buffer {name!r}{hint}")
        old = own[name]
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"functional_call: {name} must be a Tensor, not {type(tensor).__name__}"
            )
        if tensor.shape != old.shape:
            raise ValueError(
                f"functional_call: {name} must have shape {old.shape}, got {tensor.shape}"
            )
        if new.setdefault(id(old), tensor) is not tensor:
            raise ValueError(
                f"functional_call: {name} is shared, and another tensor was given for it under "
                "another of its names; give one of them"
            )
    parameters = {id(old) for old in own.values() if isinstance(old, Parameter)}
    return {at: _as_parameter(new[at]) if at in parameters else new[at] for at in new}


def _as_parameter(tensor: Tensor) -> Parameter:
    """Return the same value at the same place of the tape as a Parameter, which modules list."""
    alias = tensor.detach()
    alias.__class__ = Parameter
    alias.node, alias.index = tensor.node, tensor.index
    return cast(Parameter, alias)
