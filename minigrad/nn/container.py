"""Modules made of modules."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, Self, overload

from .module import Module


class Sequential(Module):
    """Modules called one after the other, each on what the one before returned.

    Sequential(first, second, ...) names them "0", "1", ...; a mapping gives names of its own.
    `model[0]` is a module, `model[1:]` a Sequential of the same modules.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = dict(modules[0])
        else:
            named = {str(i): module for i, module in enumerate(modules)}
        for name, module in named.items():
            self._add(name, module)

    def _add(self, name: str, module: Any) -> None:
        if not isinstance(module, Module):
            raise TypeError(
                f"Sequential is made of Modules, but {name!r} is of type {type(module).__name__}"
            )
        setattr(self, name, module)

    def append(self, module: Module) -> Self:
        """Add a module at the end, named by the first free number from its position on."""
        taken = self._own(Module)
        self._add(next(str(i) for i in count(len(taken)) if str(i) not in taken), module)
        return self

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x

    def __len__(self) -> int:
        return len(self._own(Module))

    def __iter__(self) -> Iterator[Module]:
        return iter(self._own(Module).values())

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...

    def __getitem__(self, index: int | slice) -> "Module | Sequential":
        items = list(self._own(Module).items())
        if isinstance(index, slice):
            return Sequential(dict(items[index]))
        try:
            return items[index][1]
        except IndexError:
            raise IndexError(f"Sequential has {len(items)} modules, got index {index}") from None
