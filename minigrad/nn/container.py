"""Modules made of modules."""

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import count, pairwise
from operator import index as as_index
from typing import Any, Self, overload

from ..messages import did_you_mean
from ..ops.neural import linear
from .activation import GELU, ReLU, Sigmoid, SiLU, Tanh
from .linear import Linear
from .module import Module


class _Container(Module):
    """The base of modules that are made of other modules."""

    def _add(self, name: str, module: Any) -> None:
        self._require_module(name, module)
        if name not in self._own(Module):
            self._check_name(name)
            if hasattr(self, name):
                kind = type(self).__name__
                raise ValueError(f"{name!r} is an attribute of {kind}; choose another name")
        setattr(self, name, module)

    def _require_module(self, name: str, module: Any) -> None:
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__} is made of Modules, but {name!r} is of type "
                f"{type(module).__name__}"
            )

    def __len__(self) -> int:
        return len(self._own(Module))


class _Ordered(_Container):
    """Modules by position, which may have names of their own."""

    def append(self, module: Module) -> Self:
        """Add a module at the end, named by the first free number from its position on."""
        taken = self._own(Module)
        self._add(next(str(i) for i in count(len(taken)) if str(i) not in taken), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in _listed(self, modules):
            self.append(module)
        return self

    def __iter__(self) -> Iterator[Module]:
        return iter(self._own(Module).values())

    def __setitem__(self, index: int, module: Module) -> None:
        self._add(self._name_at(index), module)

    def _name_at(self, index: int) -> str:
        names = list(self._own(Module))
        try:
            return names[as_index(index)]
        except IndexError:
            raise IndexError(
                f"{type(self).__name__} has {len(names)} modules, got index {index}"
            ) from None


_DENSE = Linear.forward
_ACTIVATIONS = {
    GELU.forward: "gelu",
    ReLU.forward: "relu",
    Sigmoid.forward: "sigmoid",
    SiLU.forward: "silu",
    Tanh.forward: "tanh",
}


def _in_one(layer: Linear, following: Module | None) -> str | None:
    """Return the activation that can be computed together with the dense layer before it.

    None where somebody looks at what lies between: a hook, a forward of one's own.
    """
    if following is None or type(layer).forward is not _DENSE:
        return None
    for module in (layer, following):
        if module._hooks or "forward" in vars(module):
            return None
    if isinstance(following, GELU) and following.approximate != "none":
        return None
    return _ACTIVATIONS.get(type(following).forward)


class Sequential(_Ordered):
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

    def forward(self, x: Any) -> Any:
        passed_over = False
        for module, following in pairwise((*self, None)):
            if passed_over:
                passed_over = False
            elif type(module) is Linear and (activation := _in_one(module, following)):
                x = linear(x, module.weight, module.bias, activation)
                passed_over = True
            else:
                x = module(x)
        return x

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...

    def __getitem__(self, index: int | slice) -> "Module | Sequential":
        if isinstance(index, slice):
            return Sequential(dict(list(self._own(Module).items())[index]))
        return self._own(Module)[self._name_at(index)]


class ModuleList(_Ordered):
    """Modules in a list, named "0", "1", ... by their places; what is called is said elsewhere.

    Index, slice, iterate, append, extend, insert, pop and del work as those of a list.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def _renew(self, modules: list[Module]) -> None:
        """Hold these modules, named by their places."""
        for name in self._own(Module):
            delattr(self, name)
        self.extend(modules)

    def insert(self, index: int, module: Module) -> None:
        """Put a module before the one at an index."""
        self._require_module(str(index), module)
        modules = list(self)
        modules.insert(index, module)
        self._renew(modules)

    def pop(self, index: int = -1) -> Module:
        """Take the module at an index away and return it."""
        module = self[index]
        del self[index]
        return module

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self)
        if not isinstance(index, slice):
            self._name_at(index)
        del modules[index]
        self._renew(modules)

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, modules: Iterable[Module]) -> "ModuleList":
        return ModuleList([*self, *_listed(self, modules)])

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> "ModuleList": ...

    def __getitem__(self, index: int | slice) -> "Module | ModuleList":
        if isinstance(index, slice):
            return ModuleList(list(self)[index])
        return self._own(Module)[self._name_at(index)]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("a ModuleList is not called; call the modules in it")


class ModuleDict(_Container):
    """Modules by name, in the order they were given; what is called is said elsewhere.

    modules: a mapping or pairs. A name is a string without dots that is no attribute of ModuleDict.
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        super().__init__()
        self.update(modules)

    def __getitem__(self, key: str) -> Module:
        held = self._own(Module)
        if key not in held:
            raise KeyError(f"ModuleDict has no module {key!r}{did_you_mean(str(key), held)}")
        return held[key]

    def __setitem__(self, key: str, module: Module) -> None:
        if not isinstance(key, str):
            raise TypeError(f"the names in a ModuleDict are strings, not {type(key).__name__}")
        self._add(key, module)

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def __contains__(self, key: object) -> bool:
        return key in self._own(Module)

    def __iter__(self) -> Iterator[str]:
        return iter(self._own(Module))

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._own(Module).keys()

    def values(self) -> ValuesView[Module]:
        """Return the modules."""
        return self._own(Module).values()

    def items(self) -> ItemsView[str, Module]:
        """Return (name, module) pairs."""
        return self._own(Module).items()

    def pop(self, key: str) -> Module:
        """Take a module away and return it; KeyError for an unknown name."""
        module = self[key]
        delattr(self, key)
        return module

    def clear(self) -> None:
        """Take all modules away."""
        for key in self.keys():
            delattr(self, key)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules by name, in place of those that have the name."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"a ModuleDict is made of names and modules, got {type(modules).__name__}"
            )
        for key, module in dict(modules).items():
            self[key] = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("a ModuleDict is not called; call the modules in it")


def _listed(container: Module, modules: Iterable[Module]) -> list[Module]:
    if not isinstance(modules, Iterable) or isinstance(modules, Mapping | ModuleDict):
        raise TypeError(
            f"{type(container).__name__}: expected an iterable of Modules, "
            f"got {type(modules).__name__}"
        )
    return list(modules)
