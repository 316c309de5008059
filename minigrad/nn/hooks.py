"""Hooks: functions that a module calls before and after its forward."""

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..engine import HookHandle

if TYPE_CHECKING:
    from .module import Module

_number = count().__next__


class Hook(NamedTuple):
    """One registered function; `before`: it is called before forward, not after it."""

    function: Any
    before: bool
    with_kwargs: bool


class ModuleHookHandle(HookHandle):
    """What registering a hook returns: `remove()` takes it away, as does the end of a `with`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()


def register(hooks: dict[int, Hook], hook: Hook, prepend: bool) -> ModuleHookHandle:
    """Add a hook as the last, or the first, of its module's."""
    key, others = _number(), dict(hooks)
    if prepend:
        hooks.clear()
    hooks[key] = hook
    hooks.update(others)
    return ModuleHookHandle(hooks, key)


def call_hooked(module: "Module", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return forward's result as the hooks of the module let it in and out."""
    hooks = tuple(module._hooks.values())  # a hook may take itself away
    for hook in hooks:
        if hook.before:
            args, kwargs = _let_in(module, hook, args, kwargs)
    result = module.forward(*args, **kwargs)
    for hook in hooks:
        if not hook.before:
            given = (args, kwargs) if hook.with_kwargs else (args,)
            new = hook.function(module, *given, result)
            result = result if new is None else new
    return result


def _let_in(
    module: "Module", hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if not hook.with_kwargs:
        new = hook.function(module, args)
        if new is None:
            return args, kwargs
        return new if isinstance(new, tuple) else (new,), kwargs
    new = hook.function(module, args, kwargs)
    if new is None:
        return args, kwargs
    if isinstance(new, tuple) and len(new) == 2 and isinstance(new[0], tuple):
        return new
    raise TypeError(
        f"a forward pre-hook of {type(module).__name__} with_kwargs=True must return None or "
        f"(args, kwargs), a tuple and a dict, got {type(new).__name__}"
    )
