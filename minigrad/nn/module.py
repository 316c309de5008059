"""Module, the base of everything that has parameters, and Parameter."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from textwrap import indent
from types import FunctionType
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from ..backends import Backend
from ..engine import Tensor, no_grad
from ..ops.creation import asarray
from ..ops.updates import assign

T = TypeVar("T")


class Parameter(Tensor):
    """A tensor that a Module finds among its attributes and an optimizer changes.

    Parameter(data, requires_grad=True) copies data and keeps its dtype, as Tensor does.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad=requires_grad)


class LoadResult(NamedTuple):
    """What `load_state_dict(strict=False)` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A function with parameters: subclasses define `forward` and are called.

    Parameters and Modules assigned to attributes are found by themselves, in the order of their
    first assignment; what is listed of them is listed once, shared or not. Buffers are further
    tensors that belong to the module but are not trained. Names of nested ones are dotted.
    """

    training: bool

    def __init__(self) -> None:
        self.training = True
        self._persistent: dict[str, bool] = {}  # buffer name -> whether state_dict has it

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter | Module):
            self._check_name(name)
        expected = self._expected(name)
        if expected is not None and not (value is None or isinstance(value, expected)):
            hint = "; change its values with .data, under no_grad() or in place"
            raise TypeError(
                f"{type(self).__name__}.{name} must stay a {expected.__name__} or become None, got "
                f"{type(value).__name__}{hint if expected is Parameter else ''}"
            )
        super().__setattr__(name, value)
        if isinstance(value, Parameter):
            self._persistent.pop(name, None)  # a buffer has become a parameter

    def _expected(self, name: str) -> type | None:
        """Return what the attribute may hold, so that no parameter or buffer is lost by mistake."""
        if name in vars(self).get("_persistent", ()):
            return Tensor
        held = vars(self).get(name)
        return next((kind for kind in (Parameter, Module) if isinstance(held, kind)), None)

    def _check_name(self, name: str) -> None:
        if "_persistent" not in vars(self):
            raise AttributeError(
                f"{type(self).__name__}.{name} is assigned too early: "
                "call super().__init__() first in __init__"
            )
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"a name must be a string, not empty and without dots, got {name!r}")
        if isinstance(getattr(type(self), name, None), FunctionType):
            raise ValueError(f"{name!r} is a method of {type(self).__name__}; choose another name")

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Make a tensor, or None, an attribute that moves and is saved with the module.

        persistent=False leaves it out of `state_dict`. TypeError for what is no Tensor.
        """
        self._check_name(name)
        if isinstance(tensor, Parameter) or not isinstance(tensor, Tensor | None):
            raise TypeError(
                f"buffer {name!r} must be a Tensor or None, not {type(tensor).__name__}"
            )
        setattr(self, name, tensor)
        self._persistent[name] = persistent

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make a Parameter, or None, an attribute: for names that are computed."""
        self._check_name(name)
        if not isinstance(param, Parameter | None):
            raise TypeError(
                f"parameter {name!r} must be a Parameter or None, not {type(param).__name__}"
            )
        setattr(self, name, param)

    def _own(self, kind: type[T]) -> dict[str, T]:
        """Return the attributes of a kind: Parameter, Module, or Tensor for the buffers."""
        if kind is Tensor:
            held = {name: vars(self).get(name) for name in self._persistent}
        else:
            held = vars(self)
        return {name: value for name, value in held.items() if isinstance(value, kind)}

    def _tree(self, path: str = "") -> Iterator[tuple[str, "Module"]]:
        """Yield self and every module below with its path, a shared one once for each path."""
        yield path, self
        for name, child in self._own(Module).items():
            yield from child._tree(_joined(path, name))

    def named_modules(self) -> Iterator[tuple[str, "Module"]]:
        """Yield (path, module) for self, whose path is "", and every module below."""
        return _once(self._tree())

    def modules(self) -> Iterator["Module"]:
        """Yield self and every module below."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """Yield (name, module) for the modules directly below."""
        return _once(self._own(Module).items())

    def children(self) -> Iterator["Module"]:
        """Yield the modules directly below."""
        return (module for _, module in self.named_children())

    def _named(self, kind: type[T]) -> Iterator[tuple[str, T]]:
        return _once(
            (_joined(path, name), value)
            for path, module in self.named_modules()
            for name, value in module._own(kind).items()
        )

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (path, parameter) for the parameters of self and of every module below."""
        return self._named(Parameter)

    def parameters(self) -> Iterator[Parameter]:
        """Yield the parameters of self and of every module below."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (path, buffer) for the buffers of self and of every module below."""
        return self._named(Tensor)

    def buffers(self) -> Iterator[Tensor]:
        """Yield the buffers of self and of every module below."""
        return (buffer for _, buffer in self.named_buffers())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward method: define one")

    # Subclasses give forward the signature they need; its results are not typed here.
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and below, which layers such as dropout go by, and return self."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Clear `training` here and below and return self."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the parameters' gradients, or fill them with zeros in place."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                assign(parameter.grad, 0)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of every parameter and return self: False freezes them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def apply(self, fn: Callable[["Module"], object]) -> Self:
        """Call fn on every module below, then on self, and return self."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, backend: str | Backend) -> Self:
        """Move parameters, gradients and buffers, which stay the same objects, and return self."""
        for tensor in (*self.parameters(), *self.buffers()):
            gradient = tensor.grad
            tensor.data = tensor.data.to(backend)
            if gradient is not None:
                tensor.grad = gradient.to(backend)
        return self

    def _state(self) -> dict[str, Tensor]:
        """Return what is saved, by dotted name: a shared tensor under each of its names."""
        return {
            _joined(path, name): tensor
            for path, module in self._tree()
            for name, tensor in (module._own(Parameter) | module._own(Tensor)).items()
            if module._persistent.get(name, True)
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Return parameters and persistent buffers by dotted name, detached, on the same memory."""
        return {name: tensor.detach() for name, tensor in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values, Tensors or arrays by dotted name, into parameters and buffers in place.

        Floats of another width are cast, other dtypes must agree. strict=False passes over names
        that one side lacks and returns them. RuntimeError lists everything that does not fit, and
        then nothing is changed.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                f"load_state_dict: expected names and tensors, got {type(state).__name__}; "
                "read a file with minigrad.load(path) first"
            )
        own = self._state()
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        values = {name: state[name] for name in own if name in state}
        problems = [f"{name}: missing" for name in missing] if strict else []
        problems += [f"{name}: unexpected" for name in unexpected] if strict else []
        problems += [
            f"{name}: {problem}"
            for name, value in values.items()
            if (problem := _misfit(own[name], value))
        ]
        if problems:
            raise RuntimeError(
                f"load_state_dict: the state does not fit {type(self).__name__}, "
                "nothing was loaded:\n  " + "\n  ".join(problems)
            )
        with no_grad():
            for name, value in values.items():
                assign(own[name], asarray(value, backend=own[name].backend))
        return LoadResult(missing, unexpected)

    def extra_repr(self) -> str:
        """Return what `repr` says of this module beside its children."""
        return ""

    def __repr__(self) -> str:
        name, own = type(self).__name__, self.extra_repr()
        children = [f"({key}): {child!r}" for key, child in self._own(Module).items()]
        if not children:
            return f"{name}({own})"
        inner = "\n".join([own, *children] if own else children)
        return f"{name}(\n{indent(inner, '  ')}\n)"


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _once(pairs: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """Yield the pairs without those whose object came before, under another name."""
    seen: set[int] = set()
    for name, value in pairs:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value


def _misfit(own: Tensor, value: Any) -> str:
    """Return why value cannot be copied into own, "" if it can."""
    if not isinstance(value, Tensor | np.ndarray):
        return f"expected a Tensor or a NumPy array, got {type(value).__name__}"
    if value.shape != own.shape:
        return f"expected shape {own.shape}, got {value.shape}"
    if value.dtype != own.dtype and not value.dtype.kind == own.dtype.kind == "f":
        return f"expected dtype {own.dtype}, got {value.dtype}"
    return ""
