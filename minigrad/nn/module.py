"""Module, the base of everything that has parameters, and Parameter."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType, MappingProxyType
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from ..backends import Backend
from ..engine import Tensor, no_grad
from ..markup import escaped
from ..messages import did_you_mean
from ..ops.axes import answers_torch
from ..ops.creation import asarray
from ..ops.updates import assign, clear_grads
from .hooks import Hook, ModuleHookHandle, call_hooked, register
from .summary import Summary, summarize

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
    _hooks: Mapping[int, Hook] = MappingProxyType({})
    #: whether the parameters wait for the sizes of a first batch, as those of lazy layers do
    _lazy = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.__module__.startswith(f"{__package__}.") and "__init__" in vars(cls):
            cls.__init__ = answers_torch(cls.__init__)  # type: ignore[method-assign]

    @answers_torch
    def __init__(self) -> None:
        self.training = True
        self._persistent: dict[str, bool] = {}  # buffer name -> whether state_dict has it

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter | Module):
            self._check_name(name)
        if isinstance(value, Module):
            self._check_cycle(name, value)
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

    def _check_cycle(self, name: str, module: "Module") -> None:
        for path, below in module.named_modules():
            if below is self:
                place = f"the {_kind(module)} has it at {path!r}" if path else "it is the same one"
                raise ValueError(
                    f"{_kind(self)}.{name}: a module cannot be inside itself, and {place}; "
                    "to refer to a module around this one, keep it in a tuple"
                )

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

    def add_module(self, name: str, module: "Module | None") -> None:
        """Make a Module, or None, an attribute: for names that are computed."""
        self._check_name(name)
        if not isinstance(module, Module | None):
            raise TypeError(f"module {name!r} must be a Module or None, not {_kind(module)}")
        setattr(self, name, module)

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

    def _named(
        self, kind: type[T], prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, T]]:
        return _once(
            (_joined(prefix, _joined(path, name)), value)
            for path, module in (self.named_modules() if recurse else [("", self)])
            for name, value in module._own(kind).items()
        )

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield (path, parameter) for the parameters of self and, if recurse, of those below.

        RuntimeError where a lazy layer has no parameters yet.
        """
        self._require_sizes(recurse)
        return self._named(Parameter, prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters of self and, if recurse, of every module below."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Yield (path, buffer) for the buffers of self and, if recurse, of every module below."""
        return self._named(Tensor, prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers of self and, if recurse, of every module below."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _places(self) -> Iterator[tuple[str, "Module", str, Tensor]]:
        """Yield (path, module, attribute, tensor) for parameters and buffers.

        What is shared comes under each of its names.
        """
        for path, module in self._tree():
            for name, tensor in (module._own(Parameter) | module._own(Tensor)).items():
                yield _joined(path, name), module, name, tensor

    def _require_sizes(self, recurse: bool = True) -> None:
        for path, module in self.named_modules() if recurse else [("", self)]:
            if module._lazy:
                where = f"{type(self).__name__}: {path!r}" if path else "it"
                raise RuntimeError(
                    f"{where} is a {type(module).__name__} and has no parameters before it has "
                    "seen its input; run one batch or summary(input_shape) first"
                )

    def _first_floating(self) -> Tensor | None:
        """Return a tensor that says on which backend and in which dtype the module computes."""
        tensors = (tensor for *_, tensor in self._places() if tensor.dtype.kind == "f")
        return next(tensors, None)

    def get_submodule(self, target: str) -> "Module":
        """Return the module of a dotted name, self for ""; AttributeError for an unknown one."""
        return _found(self, "module", dict(self._tree()), target)

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter of a dotted name; AttributeError for an unknown one."""
        self._require_sizes()
        known = {path: x for path, *_, x in self._places() if isinstance(x, Parameter)}
        return _found(self, "parameter", known, target)

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer of a dotted name; AttributeError for an unknown one."""
        known = {path: x for path, *_, x in self._places() if not isinstance(x, Parameter)}
        return _found(self, "buffer", known, target)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs for some inputs; call the module itself, which runs hooks as well."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method: define one")

    # Subclasses give forward the signature they need; its results are not typed here.
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooks:
            return call_hooked(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> ModuleHookHandle:
        """Call hook(module, args) before forward; what it returns, unless None, replaces args.

        A value that is no tuple becomes the only argument. with_kwargs: hook(module, args, kwargs)
        returns None or both. prepend: before the hooks that are there. Returns a handle with
        `remove()`, which is a context manager.
        """
        return self._hook(Hook(hook, before=True, with_kwargs=with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> ModuleHookHandle:
        """Call hook(module, args, output) after forward; unless None, its result replaces output.

        with_kwargs: hook(module, args, kwargs, output). The rest is as for a pre-hook.
        """
        return self._hook(Hook(hook, before=False, with_kwargs=with_kwargs), prepend)

    def _hook(self, hook: Hook, prepend: bool) -> ModuleHookHandle:
        if not callable(hook.function):
            raise TypeError(f"a hook must be callable, got {_kind(hook.function)}")
        return register(vars(self).setdefault("_hooks", {}), hook, prepend)

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
        clear_grads((p for _, p in self._named(Parameter)), set_to_none)

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
        """Move parameters, gradients and buffers, which stay the same objects, and return self.

        TypeError for a dtype: see `set_default_dtype`.
        """
        if not isinstance(backend, str | Backend):
            raise TypeError(
                f"{_kind(self)}.to: expected a backend or its name, got {backend!r}; parameters "
                "keep their dtype: call minigrad.set_default_dtype before making the model"
            )
        for tensor in {id(tensor): tensor for *_, tensor in self._places()}.values():
            gradient = tensor.grad
            tensor.data = tensor.data.to(backend)
            if gradient is not None:
                tensor.grad = gradient.to(backend)
        return self

    def summary(self, input_shape: Any, dtype: Any = None) -> Summary:
        """Return a table of the layers: output shapes, numbers of parameters, totals.

        input_shape: that of one sample, without the batch axis, or a list of shapes for several
        inputs. dtype: of the inputs, or a list; the parameters' unless given. Runs forward once on
        zeros, in eval mode and without recording, and leaves modes, hooks and the random state as
        they were; lazy layers get their parameters, which are drawn.
        """
        lazy = self._waiting()
        try:
            return summarize(self, input_shape, dtype)
        except BaseException:
            for waiting in lazy:
                waiting.go_on()
            raise

    def _state(self) -> dict[str, Tensor]:
        """Return what is saved, by dotted name: a shared tensor under each of its names."""
        return {
            path: tensor
            for path, module, name, tensor in self._places()
            if module._persistent.get(name, True)
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Return parameters and persistent buffers by dotted name, detached, on the same memory.

        RuntimeError where a lazy layer has no parameters yet.
        """
        self._require_sizes()
        return {name: tensor.detach() for name, tensor in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values, Tensors or arrays by dotted name, into parameters and buffers in place.

        Floats of another width are cast, other dtypes must agree. strict=False passes over names
        that one side lacks and returns them. Lazy layers take their sizes from the state.
        RuntimeError lists everything that does not fit, and then nothing is changed.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                f"load_state_dict: expected names and tensors, got {type(state).__name__}; "
                "read a file with minigrad.load(path) first"
            )
        lazy = self._waiting()
        for waiting in lazy:
            waiting.take_sizes(state, self._first_floating())
        own = self._state()
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        values = {name: state[name] for name in own if name in state}
        problems = []
        if strict:
            meant = missing if len(missing) * len(unexpected) < 1_000 else []  # 0.2 ms a pair
            problems += [f"{name}: missing" for name in missing]
            problems += [f"{name}: unexpected{did_you_mean(name, meant)}" for name in unexpected]
        problems += [
            f"{name}: {problem}"
            for name, value in values.items()
            if (problem := _misfit(own[name], value))
        ]
        for waiting in lazy:
            if problems or not waiting.found:
                waiting.go_on()
        if problems:
            raise RuntimeError(
                f"load_state_dict: the state does not fit {type(self).__name__}, "
                "nothing was loaded:\n  " + "\n  ".join(problems)
            )
        with no_grad():
            for name, value in values.items():
                assign(own[name], asarray(value, backend=own[name].backend))
        return LoadResult(missing, unexpected)

    def _waiting(self) -> "list[_Waiting]":
        return [_Waiting(path, m) for path, m in self.named_modules() if m._lazy]

    def _take_sizes(self, state: Mapping[str, Any], path: str, like: Tensor | None) -> bool:
        """Make a lazy layer's parameters in the sizes that a state has; return whether it has any.

        like: a tensor on the backend where they belong, None for the default.
        """
        raise NotImplementedError(f"{type(self).__name__} has no _take_sizes method: define one")

    def extra_repr(self) -> str:
        """Return what `repr` says of this module beside its children."""
        return ""

    def __repr__(self) -> str:
        from textwrap import indent  # on first use: importing minigrad stays quick

        name, own = type(self).__name__, self.extra_repr()
        children = [f"({key}): {child!r}" for key, child in self._own(Module).items()]
        if not children:
            return f"{name}({own})"
        inner = "\n".join([own, *children] if own else children)
        return f"{name}(\n{indent(inner, '  ')}\n)"

    def _repr_html_(self, name: str = "") -> str:
        """Return what Jupyter shows: the tree, to be unfolded, with the numbers of parameters."""
        count = sum(parameter.size for _, parameter in self._named(Parameter))
        about = f"{name} {type(self).__name__}({self.extra_repr()}) · {count:,} parameters"
        own = [f"{k}: {p.dtype} {p.shape}" for k, p in self._own(Parameter).items()]
        items = [escaped(line) for line in own]
        items += [m._repr_html_(f"({k})") for k, m in self._own(Module).items()]
        inner = "".join(f"<li>{item}</li>" for item in items)
        return f"<details><summary>{escaped(about.strip())}</summary><ul>{inner}</ul></details>"


def unusual(module: Module, usual: Mapping[str, object]) -> str:
    """Return ", name=value" of each attribute that is not the usual one, for `extra_repr`."""
    own = {name: getattr(module, name, value) for name, value in usual.items()}
    return "".join(f", {k}={value!r}" for k, value in own.items() if value != usual[k])


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _once(pairs: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """Yield the pairs without those whose object came before, under another name."""
    seen: set[int] = set()
    for name, value in pairs:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value


class _Waiting:
    """A lazy layer that may get its parameters, and the way back."""

    def __init__(self, path: str, module: Module) -> None:
        self.path, self.module, self.found = path, module, False
        self.before = type(module), dict(vars(module))

    def take_sizes(self, state: Mapping[str, Any], like: Tensor | None) -> None:
        self.found = self.module._take_sizes(state, self.path, like)

    def go_on(self) -> None:
        """Make the layer lazy again."""
        self.module.__class__, attributes = self.before
        vars(self.module).clear()
        vars(self.module).update(attributes)


def _found(module: Module, what: str, known: Mapping[str, T], target: str) -> T:
    if target not in known:
        hint = did_you_mean(target, known)
        raise AttributeError(f"{_kind(module)} has no {what} {target!r}{hint}")
    return known[target]


def _kind(value: Any) -> str:
    return type(value).__name__


def _misfit(own: Tensor, value: Any) -> str:
    """Return why value cannot be copied into own, "" if it can."""
    if not isinstance(value, Tensor | np.ndarray):
        return f"expected a Tensor or a NumPy array, got {type(value).__name__}"
    if value.shape != own.shape:
        return f"expected shape {own.shape}, got {value.shape}"
    if value.dtype != own.dtype and not value.dtype.kind == own.dtype.kind == "f":
        return f"expected dtype {own.dtype}, got {value.dtype}"
    return ""
